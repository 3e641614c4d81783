//! What `ingot stack` does with a stack that runs or shall run: the images, the pinned file, the provider, the folders.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value as Json;

use crate::build::Options;
use crate::engine::{Engine, Kind, Provider, ProviderKind, ProviderProject, Service};
use crate::error::Result;
use crate::fs;
use crate::image::Access;
use crate::oci::Digest;
use crate::report::stack::{BuiltReport, ImageLine, ServiceReport, StackReport};
use crate::sandbox::prepare;
use crate::stack::background::{self, Background};
use crate::stack::images::{CastImage, Casting, cast, keep, load, wanted};
use crate::stack::ingot::{SANDBOX, SandboxImage, SandboxSpec, extras, sandbox};
use crate::stack::pinned::{Pins, pinned};
use crate::stack::state::{Place, Running};
use crate::stack::up::{Rise, own, rise};
use crate::stack::wait::refresh;
use crate::stack::{Node, Order, Stack, Trouble, down, foreign, health, limits, render, torn};

use super::settings::{Error, Session, locking};
use super::stack_args::{Casting as CastingArguments, Environment, Restart, Stack as Arguments, Up};
use super::stack_view::{interrupted, viewer};

/// A stack and all that is needed to run it.
pub struct Stage<'a> {
    pub(super) stack: Stack,
    pub(super) session: &'a Session,
    args: &'a Arguments,
    access: Access,
    place: Place,
}

/// What `up` has written.
struct Written {
    /// What is remembered now.
    running: Running,
    /// Whether the pinned file is the one that was started before.
    unchanged: bool,
    /// The stack's own files.
    files: BTreeMap<PathBuf, String>,
    /// Its health checks.
    checks: BTreeMap<String, Vec<String>>,
    /// What its services may have only so much of.
    limits: BTreeMap<String, Vec<&'static str>>,
}

impl<'a> Stage<'a> {
    /// For a stack that is loaded.
    pub fn new(stack: Stack, args: &'a Arguments, session: &'a Session) -> Result<Self> {
        let access = session.access()?;
        let place = Place::of(&stack, &access.store)?;
        Ok(Stage { stack, session, args, access, place })
    }

    /// Casts images and keeps them in a layout.
    pub fn build(&self, services: &[String], casting: &CastingArguments) -> Result<BuiltReport> {
        self.known(services, true)?;
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

    /// The file that a provider would get now.
    pub fn pinned(&self) -> Result<Node> {
        let images = self.cast(&[], &CastingArguments { locked: false })?;
        let running = self.place.running()?;
        let engine = self.asked_engine()?.or_else(|| running.and_then(|running| running.engine()));
        Ok(pinned(&self.stack, &self.pins(names(&images), engine)?)?.root)
    }

    /// Brings the stack up.
    pub fn up(&self, up: &Up) -> Result<StackReport> {
        if up.no_check && self.is_production() {
            let advice = "what is wrong is shown by `ingot stack check --env production`";
            return Err(
                Error::usage("in production nothing starts unchecked: --no-check is not allowed", advice).into()
            );
        }
        self.known(&up.services, false)?;
        let provider = self.provider()?;
        let engine = provider.engine();
        let project = self.project();
        own(engine, &project.name, &project.file)?;
        interrupted(engine, &project.name, &self.place);
        let order = Order::of(&self.stack).with_needed(&up.services);
        let services: Vec<String> = order.services().map(str::to_string).collect();
        let sandbox = self.sandbox(&services)?;
        if let Some(SandboxImage::Named(image)) = sandbox.as_ref().map(|spec| &spec.image) {
            // Without it, all else would be cast and loaded for nothing.
            prepare(image, Some(engine.kind()), &self.access)?;
        }
        let images = self.cast(&services, &up.casting)?;
        load(&images, engine, &self.access)?;
        let names_of: Vec<&str> = services.iter().map(String::as_str).collect();
        foreign::fetch(&self.stack, &names_of, engine, &self.access.progress)?;
        let Written { mut running, unchanged, files, checks, limits } = self.write(&provider, &project, &images)?;
        if let Some(spec) = sandbox {
            self.serve(&spec, &images, engine)?;
        }
        let (stack, order, provider, project) = (&self.stack, &order, &provider, &project);
        let checks = &checks;
        let work = Rise { stack, order, provider, project, checks, timeout: up.timeout, restart: false, unchanged };
        let containers = self.rise(&work)?;
        self.place.tidy_files(&files, &containers)?;
        if let Some(missing) = limits::missing(&limits, &containers) {
            self.access
                .progress
                .message(&format!("warning: {} does not enforce limits of the file: {missing}", engine.kind()));
        }
        if up.services.is_empty() {
            let text = fs::read(&project.file, crate::stack::state::PINNED_LIMIT)?;
            running.whole = Some(Digest::of(&text).to_string());
            self.place.remember(&running)?;
        }
        self.report(engine, containers)
    }

    /// Writes the pinned file, and the files that it names.
    fn write(&self, provider: &Provider, project: &ProviderProject, images: &[CastImage]) -> Result<Written> {
        let before = self.place.running()?;
        let mut all = before.as_ref().map(|before| before.images.clone()).unwrap_or_default();
        all.extend(names(images));
        let pinned = pinned(&self.stack, &self.pins(all.clone(), Some(provider.kind().engine()))?)?;
        self.place.write_files(&pinned.files)?;
        let text = render::yaml(&pinned.root);
        let digest = Digest::of(text.as_bytes()).to_string();
        let unchanged = before.is_some_and(|before| before.whole.as_ref() == Some(&digest));
        fs::write_private(&project.file, text.as_bytes())?;
        let mut running = Running::new(provider.kind());
        running.whole = unchanged.then_some(digest);
        running.images = all;
        self.place.remember(&running)?;
        let (checks, limits) = (torn::checks(&pinned.root), limits::wanted(&pinned.root));
        Ok(Written { running, unchanged, checks, limits, files: pinned.files })
    }

    /// The stack's sandbox, if one of the services uses it.
    fn sandbox(&self, services: &[String]) -> Result<Option<SandboxSpec>> {
        let mut used = false;
        for (name, service) in self.stack.services().filter(|(name, _)| services.iter().any(|one| one == name)) {
            used |= extras(&self.stack, name, service)?.sandbox;
        }
        Ok(sandbox(&self.stack)?.filter(|_| used))
    }

    /// Starts the stack's sandbox.
    fn serve(&self, spec: &SandboxSpec, images: &[CastImage], engine: &Engine) -> Result<()> {
        let image = match &spec.image {
            SandboxImage::Named(image) => image.clone(),
            SandboxImage::Cast(_) => {
                images.iter().find(|image| image.service == SANDBOX).map(|image| image.name.clone()).unwrap_or_default()
            }
        };
        let task = self.session.progress.task("sandbox service", None);
        Background { spec, image, engine: engine.kind(), production: self.is_production() }.ensure(&self.place)?;
        task.finish("serves");
        Ok(())
    }

    /// Ends services and starts them again, in order.
    pub fn restart(&self, restart: &Restart) -> Result<StackReport> {
        self.known(&restart.services, false)?;
        let project = self.project();
        let provider = self.provider()?;
        let there = own(provider.engine(), &project.name, &project.file)?;
        interrupted(provider.engine(), &project.name, &self.place);
        let all: Vec<String> = self.stack.services().map(|(name, _)| name.to_string()).collect();
        let wanted = if restart.services.is_empty() { &all } else { &restart.services };
        if let Some(missing) = wanted.iter().find(|name| !there.iter().any(|one| one.service == **name)) {
            let problem = format!("`{missing}` of the stack `{}` is not up", project.name);
            return Err(Error::usage(problem, "start it: `ingot stack up`").into());
        }
        let order = Order::of(&self.stack).only(&restart.services);
        let (stack, order) = (&self.stack, &order);
        let (provider, project, timeout) = (&provider, &project, restart.timeout);
        // They were looked at when it was brought up.
        let checks = &BTreeMap::new();
        let work = Rise { stack, order, provider, project, checks, timeout, restart: true, unchanged: true };
        let containers = self.rise(&work)?;
        self.report(provider.engine(), containers)
    }

    fn rise(&self, work: &Rise<'_>) -> Result<Vec<Service>> {
        rise(work, &mut *viewer(self.session))
    }

    /// Takes the stack down.
    pub fn down(&self, volumes: bool) -> Result<()> {
        let message = |text: String| self.session.printer.message(&text);
        let project = self.project();
        let served = background::end(&self.place)?;
        if !fs::exists(&project.file) {
            message(format!("the stack `{}` is not up", self.stack.name));
            return Ok(());
        }
        let taken = down::down(&self.stack, &self.provider()?, &project, volumes, &self.place)?;
        // No container is left that could hold them.
        self.place.tidy_files(&BTreeMap::new(), &[])?;
        let mut gone = taken.containers;
        gone.extend(served.then(|| "the sandbox service".to_string()));
        match gone.is_empty() {
            true => message(format!("the stack `{}` is not up", self.stack.name)),
            false => message(format!("removed: {}", gone.join(", "))),
        }
        if !taken.volumes.is_empty() {
            let how = if volumes { "removed with all data" } else { "kept with all data" };
            message(format!("{how}: {}", taken.volumes.join(", ")));
        }
        Ok(())
    }

    /// What runs.
    pub fn ps(&self) -> Result<StackReport> {
        let engine = self.engine()?;
        let mut containers = self.containers(&engine)?;
        refresh(&mut containers, &engine);
        self.report(&engine, containers)
    }

    /// How it is.
    pub fn health(&self) -> Result<health::StackHealth> {
        health::health(&self.stack, &self.engine()?, &self.place)
    }

    /// The containers of this stack.
    pub fn containers(&self, engine: &Engine) -> Result<Vec<Service>> {
        own(engine, &self.stack.name, &self.place.pinned())
    }

    fn report(&self, engine: &Engine, containers: Vec<Service>) -> Result<StackReport> {
        let sandbox = background::look(&self.place)?;
        Ok(StackReport {
            stack: self.stack.name.clone(),
            engine: (!containers.is_empty()).then(|| engine.kind().to_string()),
            services: containers
                .iter()
                .map(ServiceReport::new)
                .collect::<Vec<_>>()
                .into_iter()
                .chain(sandbox.as_ref().map(ServiceReport::sandbox))
                .collect(),
        })
    }

    fn cast(&self, services: &[String], casting: &CastingArguments) -> Result<Vec<CastImage>> {
        let wanted = wanted(&self.stack, services)?;
        let casting = Casting { locking: locking(casting.locked), options: Options::default() };
        cast(&self.stack.name, &wanted, casting, &self.access)
    }

    #[allow(clippy::disallowed_methods, reason = "`~` in a path is this user's home")]
    fn pins(&self, images: BTreeMap<String, (String, Option<Json>)>, engine: Option<Kind>) -> Result<Pins> {
        let sockets = sandbox(&self.stack)?.map(|_| self.place.sockets()).transpose()?;
        let files = Some(self.place.files());
        Ok(Pins { images, sockets, files, seal: self.place.seal()?, home: std::env::var("HOME").ok(), engine })
    }

    fn project(&self) -> ProviderProject {
        let environment = BTreeMap::new();
        ProviderProject { name: self.stack.name.clone(), file: self.place.pinned(), environment }
    }

    fn is_production(&self) -> bool {
        self.args.env == Environment::Production
    }

    /// Fails for a service that the stack does not have.
    pub fn known(&self, services: &[String], with_sandbox: bool) -> Result<()> {
        let mut known: Vec<String> = self.stack.services().map(|(name, _)| name.to_string()).collect();
        if with_sandbox && sandbox(&self.stack)?.is_some() {
            known.push(SANDBOX.into());
        }
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
    pub fn engine(&self) -> Result<Engine> {
        let running = self.place.running()?;
        let asked = self.asked_engine()?;
        Ok(Engine::detect(asked.or_else(|| running.and_then(|running| running.engine())))?)
    }

    fn provider(&self) -> Result<Provider> {
        let asked = &self.args.runner.provider;
        let provider = (asked != "auto").then(|| asked.parse::<ProviderKind>()).transpose()?;
        let (engine, running) = (self.asked_engine()?, self.place.running()?);
        let Some(runs) = running.as_ref().and_then(Running::engine) else {
            return Ok(Provider::detect(provider, engine)?);
        };
        let wanted = provider.map(ProviderKind::engine).or(engine);
        if let Some(wanted) = wanted.filter(|wanted| *wanted != runs) {
            let there = Engine::detect(Some(runs)).and_then(|engine| engine.project(&self.stack.name));
            if there.is_ok_and(|there| !there.is_empty()) {
                let (stack, engine, asked) = (self.stack.name.clone(), runs.to_string(), wanted.to_string());
                return Err(Trouble::OtherEngine { stack, engine, asked }.into());
            }
            return Ok(Provider::detect(provider, engine)?);
        }
        // Containers of one provider are not called as those of another.
        let same = provider.or_else(|| running.as_ref().and_then(Running::provider));
        match Provider::detect(same, None) {
            // docker's are one program under two names.
            Err(_) if provider.is_none() && runs == Kind::Docker => Ok(Provider::detect(None, Some(runs))?),
            found => Ok(found?),
        }
    }
}

fn names(images: &[CastImage]) -> BTreeMap<String, (String, Option<Json>)> {
    images.iter().map(|image| (image.service.clone(), (image.name.clone(), image.healthcheck()))).collect()
}
