//! What `ingot stack` does with a stack that runs or shall run: the images, the pinned file, the provider, the folders.

use std::collections::BTreeMap;

use crate::build::Options;
use crate::engine::{Engine, Kind, Provider, ProviderKind, Service};
use crate::error::Result;
use crate::fs;
use crate::image::Access;
use crate::oci::Digest;
use crate::report::stack::{BuiltReport, ImageLine, ServiceReport, StackReport};
use crate::stack::images::{CastImage, Casting, cast, keep, load, wanted};
use crate::stack::pinned::{Pins, pinned};
use crate::stack::state::{Place, Running};
use crate::stack::up::{Rise, own, project, rise};
use crate::stack::{Node, Order, Stack, Trouble, down, foreign, render};

use super::settings::{Error, Session, locking};
use super::stack_args::{Casting as CastingArguments, Environment, Stack as Arguments, Up};
use super::stack_view::viewer;

/// A stack and all that is needed to run it.
pub struct Stage<'a> {
    stack: Stack,
    args: &'a Arguments,
    session: &'a Session,
    access: Access,
    place: Place,
}

impl<'a> Stage<'a> {
    /// For a stack that is loaded.
    pub fn new(stack: Stack, args: &'a Arguments, session: &'a Session) -> Result<Self> {
        let access = session.access()?;
        let place = Place::of(&stack, &access.store)?;
        place.prepare()?;
        Ok(Stage { stack, args, session, access, place })
    }

    /// Casts images and keeps them in a layout.
    pub fn build(&self, services: &[String], casting: &CastingArguments) -> Result<BuiltReport> {
        self.known(services)?;
        let images = self.cast(services, casting)?;
        keep(&images, &self.place.images(), &self.access)?;
        let line = |image: &CastImage| ImageLine {
            service: image.service.clone(),
            name: image.name.clone(),
            digest: image.digest().to_string(),
            size: image.image.compressed_size(),
            made: image.made,
        };
        let layout = self.place.images().display().to_string();
        Ok(BuiltReport { stack: self.stack.name.clone(), layout, images: images.iter().map(line).collect() })
    }

    /// The file that a provider would get now. Images that were never cast have the names of the plain file.
    pub fn pinned(&self) -> Result<Node> {
        let images = self.cast(&[], &CastingArguments { locked: false })?;
        pinned(&self.stack, &self.pins(&images, self.asked_engine()?)?)
    }

    /// Brings the stack up.
    pub fn up(&self, up: &Up) -> Result<StackReport> {
        if up.no_check && self.args.env == Environment::Production {
            let advice = "what is wrong is shown by `ingot stack check --env production`";
            return Err(Error::usage("in production nothing starts unchecked: --no-check is not allowed", advice).into());
        }
        self.known(&up.services)?;
        let provider = self.provider()?;
        let engine = provider.engine();
        let project = project(&self.stack.name, self.place.pinned());
        own(engine, &project.name, &project.file)?;
        let order = Order::of(&self.stack).with_needed(&up.services);
        let services: Vec<&str> = order.services().collect();
        let images = self.cast(&services.iter().map(ToString::to_string).collect::<Vec<_>>(), &up.casting)?;
        load(&images, engine, &self.access)?;
        foreign::fetch(&self.stack, &services, engine, &self.access.progress)?;
        let text = render::yaml(&pinned(&self.stack, &self.pins(&images, Some(engine.kind()))?)?);
        let digest = Digest::of(text.as_bytes()).to_string();
        let before = self.place.running()?;
        let unchanged = before.is_some_and(|before| before.whole.as_ref() == Some(&digest));
        fs::write_private(&project.file, text.as_bytes())?;
        let mut running = Running::new(provider.kind());
        running.whole = unchanged.then(|| digest.clone());
        self.place.remember(&running)?;
        let work = Rise {
            stack: &self.stack,
            order: &order,
            provider: &provider,
            project: &project,
            timeout: up.timeout,
            restart: false,
            unchanged,
        };
        let containers = rise(&work, &mut *viewer(self.session))?;
        if up.services.is_empty() {
            running.whole = Some(digest);
            self.place.remember(&running)?;
        }
        Ok(self.report(engine, &containers))
    }

    /// Takes the stack down.
    pub fn down(&self, volumes: bool) -> Result<()> {
        let project = project(&self.stack.name, self.place.pinned());
        if !fs::exists(&project.file) {
            self.session.printer.message(&format!("the stack `{}` is not up", self.stack.name));
            return Ok(());
        }
        let taken = down::down(&self.provider()?, &project, volumes, &self.place)?;
        let names = |names: &[String]| names.join(", ");
        let message = |text: String| self.session.printer.message(&text);
        match (taken.containers.is_empty(), taken.volumes.is_empty()) {
            (true, _) => message(format!("the stack `{}` is not up", self.stack.name)),
            (false, _) => message(format!("removed: {}", names(&taken.containers))),
        }
        match (volumes, taken.volumes.is_empty()) {
            (_, true) => {}
            (true, false) => message(format!("removed with all data: {}", names(&taken.volumes))),
            (false, false) => message(format!("kept with all data: {}", names(&taken.volumes))),
        }
        Ok(())
    }

    /// What runs.
    pub fn ps(&self) -> Result<StackReport> {
        let engine = self.engine()?;
        let containers = own(&engine, &self.stack.name, &self.place.pinned())?;
        Ok(self.report(&engine, &containers))
    }

    fn report(&self, engine: &Engine, containers: &[Service]) -> StackReport {
        StackReport {
            stack: self.stack.name.clone(),
            engine: (!containers.is_empty()).then(|| engine.kind().to_string()),
            services: containers.iter().map(ServiceReport::new).collect(),
        }
    }

    fn cast(&self, services: &[String], casting: &CastingArguments) -> Result<Vec<CastImage>> {
        let wanted = wanted(&self.stack, services)?;
        let casting = Casting { locking: locking(casting.locked), options: Options::default() };
        cast(&self.stack.name, &wanted, casting, &self.access)
    }

    #[allow(clippy::disallowed_methods, reason = "`~` in a path is this user's home")]
    fn pins(&self, images: &[CastImage], engine: Option<Kind>) -> Result<Pins> {
        let images: BTreeMap<_, _> =
            images.iter().map(|image| (image.service.clone(), (image.name.clone(), image.healthcheck()))).collect();
        Ok(Pins { images, sockets: None, home: std::env::var("HOME").ok(), engine })
    }

    fn known(&self, services: &[String]) -> Result<()> {
        let known: Vec<String> = self.stack.services().map(|(name, _)| name.to_string()).collect();
        match services.iter().find(|service| !known.contains(service)) {
            None => Ok(()),
            Some(service) => {
                let (stack, service) = (self.stack.name.clone(), service.clone());
                Err(Trouble::NoService { stack, service, known }.into())
            }
        }
    }

    fn asked_engine(&self) -> Result<Option<Kind>> {
        let asked = &self.args.runner.engine;
        Ok((asked != "auto").then(|| asked.parse()).transpose()?)
    }

    /// The engine that was asked for, or that runs the stack, or that there is.
    fn engine(&self) -> Result<Engine> {
        let running = self.place.running()?;
        let asked = self.asked_engine()?;
        Ok(Engine::detect(asked.or_else(|| running.and_then(|running| running.engine())))?)
    }

    fn provider(&self) -> Result<Provider> {
        let asked = &self.args.runner.provider;
        let provider = (asked != "auto").then(|| asked.parse::<ProviderKind>()).transpose()?;
        let (engine, running) = (self.asked_engine()?, self.place.running()?);
        let Some(running) = running else { return Ok(Provider::detect(provider, engine)?) };
        let wanted = provider.map(ProviderKind::engine).or(engine);
        if let (Some(wanted), Some(runs)) = (wanted, running.engine())
            && wanted != runs
            && Engine::detect(Some(runs)).is_ok_and(|engine| engine.project(&self.stack.name).is_ok_and(|all| !all.is_empty()))
        {
            let (stack, engine, asked) = (self.stack.name.clone(), runs.to_string(), wanted.to_string());
            return Err(Trouble::OtherEngine { stack, engine, asked }.into());
        }
        match (provider, engine) {
            (None, None) => Ok(Provider::detect(running.provider(), None)
                .or_else(|_| Provider::detect(None, running.engine()))?),
            _ => Ok(Provider::detect(provider, engine)?),
        }
    }
}
