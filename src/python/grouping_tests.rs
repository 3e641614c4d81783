//! Where wheels go, and what an update moves.

use std::collections::BTreeSet;

use super::*;

const KB: u64 = 1000;
const MB: u64 = 1_000_000;
const LIMITS: Limits = Limits { own: HEAVY_LAYERS };

/// Packed sizes as they are on a package index.
const STACK: [(&str, u64); 36] = [
    ("scipy", 35_300 * KB),
    ("numpy", 16_900 * KB),
    ("pandas", 12_400 * KB),
    ("scikit-learn", 9_300 * KB),
    ("pillow", 6_600 * KB),
    ("cryptography", 4_300 * KB),
    ("lxml", 5_200 * KB),
    ("django", 8_300 * KB),
    ("sqlalchemy", 3_300 * KB),
    ("psycopg-binary", 4_200 * KB),
    ("aiohttp", 1_700 * KB),
    ("pydantic-core", 2_000 * KB),
    ("uvloop", 4_000 * KB),
    ("grpcio", 6_100 * KB),
    ("greenlet", 600 * KB),
    ("pydantic", 440 * KB),
    ("pyyaml", 760 * KB),
    ("tzdata", 350 * KB),
    ("joblib", 300 * KB),
    ("python-dateutil", 230 * KB),
    ("gunicorn", 84 * KB),
    ("requests", 64 * KB),
    ("urllib3", 128 * KB),
    ("certifi", 160 * KB),
    ("charset-normalizer", 145 * KB),
    ("idna", 70 * KB),
    ("six", 11 * KB),
    ("click", 98 * KB),
    ("jinja2", 134 * KB),
    ("markupsafe", 23 * KB),
    ("packaging", 65 * KB),
    ("typing-extensions", 37 * KB),
    ("attrs", 64 * KB),
    ("sqlparse", 44 * KB),
    ("asgiref", 24 * KB),
    ("threadpoolctl", 18 * KB),
];

fn weight(name: &str, version: u32, size: u64) -> Weight {
    Weight { name: name.into(), digest: Digest::of(format!("{name} {version}").as_bytes()), size }
}

fn stack() -> Vec<Weight> {
    STACK.iter().map(|(name, size)| weight(name, 1, *size)).collect()
}

fn bump(wheels: &mut [Weight], name: &str, version: u32) {
    let wheel = wheels.iter_mut().find(|wheel| wheel.name == name).unwrap();
    *wheel = weight(name, version, wheel.size);
}

fn names(grouping: &Grouping, place: Place) -> Vec<&str> {
    grouping.wheels.iter().filter(|(_, (_, found))| *found == place).map(|(name, _)| name.as_str()).collect()
}

/// An image, as far as its layers' bytes differ.
#[derive(Clone)]
struct Image {
    wheels: Vec<Weight>,
    /// The base, OS packages, the Python, the application, the small files: version and size of their layers.
    base: u32,
    os: u32,
    python: u32,
    app: u32,
    runtime: u32,
}

impl Image {
    fn new() -> Self {
        Image { wheels: stack(), base: 1, os: 1, python: 1, app: 1, runtime: 1 }
    }

    /// Its layers: what is in each, and how large it is.
    fn layers(&self, grouping: &Grouping) -> BTreeSet<(String, u64)> {
        let mut layers = BTreeSet::from([
            (format!("base {}", self.base), 29 * MB),
            (format!("OS packages {} {}", self.base, self.os), 14 * MB),
            (format!("python bytecode {} {} {}", self.base, self.os, self.python), 6 * MB),
            (format!("app {}", self.app), 400 * KB),
            (format!("runtime {}", self.runtime), 4 * KB),
        ]);
        let own = (format!("python {}", self.python), KB);
        let (mut shared, mut small) = ((String::new(), 0), own.clone());
        if !grouping.is_split() {
            (shared, small) = (own, shared);
        }
        for wheel in &self.wheels {
            match grouping.place(&wheel.name) {
                Place::Own => {
                    layers.insert((format!("{} {}", wheel.name, wheel.digest), wheel.size));
                }
                place => {
                    let layer = if place == Place::Shared || !grouping.is_split() { &mut shared } else { &mut small };
                    layer.0.push_str(&format!("{} {}\n", wheel.name, wheel.digest));
                    layer.1 += wheel.size;
                }
            }
        }
        layers.extend([shared, small]);
        layers
    }
}

/// As it was once: what is not very heavy is one layer.
fn in_one(wheels: &[Weight]) -> Grouping {
    let place = |wheel: &Weight| if wheel.size >= 16 << 20 { Place::Own } else { Place::Shared };
    Grouping::locked(wheels.iter().map(|wheel| (wheel.name.clone(), wheel.digest, place(wheel))))
}

/// What the last of these changes moves, in thousands of bytes: with all that is not very heavy in one layer, with a
/// grouping of what there is now, and with one that knows the grouping before.
fn row(name: &str, changes: &[&dyn Fn(&mut Image)]) -> String {
    type Policy = fn(&[Weight], Option<&Grouping>) -> Grouping;
    let policies: [Policy; 3] = [
        |wheels, _| in_one(wheels),
        |wheels, _| group(wheels, None, LIMITS),
        |wheels, previous| group(wheels, previous, LIMITS),
    ];
    let pushed = policies.map(|policy| {
        let mut image = Image::new();
        let mut grouping = policy(&image.wheels, None);
        let mut pushed = 0;
        for change in changes {
            let before = image.layers(&grouping);
            change(&mut image);
            grouping = policy(&image.wheels, Some(&grouping));
            pushed = image.layers(&grouping).difference(&before).map(|(_, size)| size / KB).sum();
        }
        pushed
    });
    format!("{name:<50} {:>7} {:>7} {:>7}\n", pushed[0], pushed[1], pushed[2])
}

#[test]
fn bytes_pushed_for_each_kind_of_change() {
    let bumped = |name: &'static str, version: u32| move |image: &mut Image| bump(&mut image.wheels, name, version);
    let sized = |name: &'static str, size: u64| {
        move |image: &mut Image| {
            image.wheels.retain(|wheel| wheel.name != name);
            image.wheels.push(weight(name, 2, size));
        }
    };
    let removed = |name: &'static str| move |image: &mut Image| image.wheels.retain(|wheel| wheel.name != name);
    let table = [
        format!("{:<50} {:>7} {:>7} {:>7}\n", "change", "in one", "without", "with"),
        row("nothing", &[&|_| {}]),
        row("a line of the application", &[&|image| image.app += 1]),
        row("the user, a folder, the launcher", &[&|image| image.runtime += 1]),
        row("a small dependency bumped (certifi)", &[&bumped("certifi", 2)]),
        row(
            "two small ones (certifi, click)",
            &[&|image| {
                bump(&mut image.wheels, "certifi", 2);
                bump(&mut image.wheels, "click", 2);
            }],
        ),
        row("a middle one bumped (aiohttp)", &[&bumped("aiohttp", 2)]),
        row("a heavy one bumped (pandas)", &[&bumped("pandas", 2)]),
        row("a small one added", &[&sized("httpx", 73 * KB)]),
        row("a middle one added", &[&sized("msgspec", 1_100 * KB)]),
        row("another middle one added after it", &[&sized("msgspec", 1_100 * KB), &sized("orjson", 400 * KB)]),
        row("a heavy one added", &[&sized("pyarrow", 40 * MB)]),
        row("a small one removed (six)", &[&removed("six")]),
        row("a middle one removed (greenlet)", &[&removed("greenlet")]),
        row("a heavy one removed (pandas)", &[&removed("pandas")]),
        row("a middle one grows over the threshold (aiohttp)", &[&sized("aiohttp", 2_200 * KB)]),
        row("and shrinks again", &[&sized("aiohttp", 2_200 * KB), &sized("aiohttp", 1_900 * KB)]),
        row("a middle one becomes clearly heavy (aiohttp)", &[&sized("aiohttp", 5 * MB)]),
        row("a heavy one shrinks a little (sqlalchemy)", &[&sized("sqlalchemy", 1_900 * KB)]),
        row("a patch release of Python", &[&|image| (image.os, image.python) = (2, 2)]),
        row("an OS package", &[&|image| image.os += 1]),
        row("another base", &[&|image| image.base += 1]),
    ]
    .concat();
    let expected = "\
change                                              in one without    with
nothing                                                  0       0       0
a line of the application                              400     400     400
the user, a folder, the launcher                         4       4       4
a small dependency bumped (certifi)                  71250    1700    1700
two small ones (certifi, click)                      71250    1700    1700
a middle one bumped (aiohttp)                        71250    5850    5850
a heavy one bumped (pandas)                          71250   12400   12400
a small one added                                    71323    1773    1773
a middle one added                                   72350    8650    2800
another middle one added after it                    72750    7000    3200
a heavy one added                                    40000   40000   40000
a small one removed (six)                            71239    1689    1689
a middle one removed (greenlet)                      70650    5250    5250
a heavy one removed (pandas)                         58850       0       0
a middle one grows over the threshold (aiohttp)      71750    8050    6350
and shrinks again                                    71450    7750    6050
a middle one becomes clearly heavy (aiohttp)         74550   10850    9150
a heavy one shrinks a little (sqlalchemy)            69850    9450    1900
a patch release of Python                            91250   21700   21700
an OS package                                        20000   20000   20000
another base                                         49000   49000   49000
";
    assert_eq!(table, expected, "\n{table}");
}

#[test]
fn nothing_changes_where_nothing_changed() {
    let first = group(&stack(), None, LIMITS);
    assert_eq!(
        names(&first, Place::Own),
        [
            "cryptography",
            "django",
            "grpcio",
            "lxml",
            "numpy",
            "pandas",
            "pillow",
            "psycopg-binary",
            "scikit-learn",
            "scipy",
            "sqlalchemy",
            "uvloop",
        ]
    );
    assert_eq!(group(&stack(), Some(&first), LIMITS), first);
    let mut backwards = stack();
    backwards.reverse();
    assert_eq!(group(&backwards, None, LIMITS), first);
    // Whatever happens: locked twice is locked once.
    let (mut wheels, mut grouping, mut state) = (stack(), first, 1u64);
    for version in 2..400 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 33) as usize % wheels.len();
        match state >> 60 {
            0..=10 => wheels[at] = weight(&wheels[at].name.clone(), version, wheels[at].size),
            11 => wheels[at] = weight(&wheels[at].name.clone(), version, (state >> 20) % (20 * MB)),
            12 | 13 if wheels.len() > 5 => drop(wheels.remove(at)),
            _ => wheels.push(weight(&format!("new-{version}"), version, (state >> 20) % (3 * MB))),
        }
        grouping = group(&wheels, Some(&grouping), LIMITS);
        assert_eq!(group(&wheels, Some(&grouping), LIMITS), grouping, "after {version}");
        let locked = grouping.wheels.iter().map(|(name, (digest, place))| (name.clone(), *digest, *place));
        assert_eq!(group(&wheels, Some(&Grouping::locked(locked)), LIMITS), grouping, "read from a lock");
        let places: Vec<Place> = wheels.iter().map(|wheel| grouping.place(&wheel.name)).collect();
        let rest = bytes(&wheels, &places, |place| place != Place::Own);
        let small = bytes(&wheels, &places, |place| place == Place::Small);
        assert!(small <= SPLIT_SIZE.max(rest / SMALL_PART), "{small} of {rest}");
        assert!(grouping.count(Place::Own) <= HEAVY_LAYERS);
    }
}

/// Over years of updates, the grouping that remembers moves less than the one that does not.
#[test]
fn who_remembers_moves_less() {
    let moved = |remember: bool| {
        let (mut image, mut state, mut moved) = (Image::new(), 7u64, 0);
        let mut grouping = group(&image.wheels, None, LIMITS);
        for version in 2..400 {
            let before = image.layers(&grouping);
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % image.wheels.len();
            let Weight { name, size, .. } = image.wheels[at].clone();
            match state >> 60 {
                0..=9 => bump(&mut image.wheels, &name, version),
                10..=13 => image.wheels[at] = weight(&name, version, size / 100 * (90 + (state >> 20) % 22)),
                14 if image.wheels.len() > 30 => drop(image.wheels.remove(at)),
                _ => image.wheels.push(weight(&format!("new-{version}"), 1, (state >> 20) % (2 * MB))),
            }
            grouping = group(&image.wheels, Some(&grouping).filter(|_| remember), LIMITS);
            moved += image.layers(&grouping).difference(&before).map(|(_, size)| size).sum::<u64>();
        }
        moved / MB
    };
    let (with, without) = (moved(true), moved(false));
    assert!(with < without, "{with} MB with, {without} MB without");
}

#[test]
fn heavy_wheels_are_the_largest_and_not_too_many() {
    let own = |sizes: &[u64], own: usize| -> Vec<bool> {
        let wheels: Vec<Weight> =
            sizes.iter().enumerate().map(|(at, size)| weight(&format!("{at}"), 1, *size)).collect();
        let grouping = group(&wheels, None, Limits { own });
        wheels.iter().map(|wheel| grouping.place(&wheel.name) == Place::Own).collect()
    };
    let heavy = HEAVY_SIZE;
    assert!(own(&[], 3).is_empty());
    assert_eq!(own(&[heavy - 1, heavy, heavy + 1], 3), [false, true, true]);
    assert_eq!(own(&[heavy, 3 * heavy, 2 * heavy, 4 * heavy], 2), [false, true, false, true]);
    assert_eq!(own(&[heavy, heavy, heavy], 2), [true, true, false]);
    assert_eq!(own(&[heavy], 0), [false]);
    assert_eq!((Limits::of_room(0).own, Limits::of_room(5).own, Limits::of_room(90).own), (0, 3, HEAVY_LAYERS));
    // Fewer layers than before, because the base has more: the largest keep theirs.
    let first = group(&stack(), None, LIMITS);
    let fewer = group(&stack(), Some(&first), Limits { own: 2 });
    assert_eq!(names(&fewer, Place::Own), ["numpy", "scipy"]);
}

#[test]
fn what_is_small_is_one_layer() {
    let wheels = |sizes: &[u64]| -> Vec<Weight> {
        sizes.iter().enumerate().map(|(at, size)| weight(&format!("w{at}"), 1, *size)).collect()
    };
    let small = group(&wheels(&[300 * KB, 20 * KB, 30 * KB, 9 * MB]), None, LIMITS);
    assert!(!small.is_split() && small.count(Place::Shared) == 3);
    let mut changed = wheels(&[300 * KB, 20 * KB, 30 * KB, 9 * MB]);
    bump(&mut changed, "w1", 2);
    let changed = group(&changed, Some(&small), LIMITS);
    assert!(!changed.is_split() && changed.count(Place::Shared) == 3);
    // The environment's own files have a layer apart from much that is shared, even if no wheel is small.
    let even = group(&wheels(&[2 * MB, 2 * MB, 2 * MB]), None, LIMITS);
    assert!(even.is_split() && even.count(Place::Shared) == 3);
    assert!(!group(&[], None, LIMITS).is_split());
}

#[test]
fn who_is_expected_to_have_a_layer_gets_it() {
    // Random stacks, and what came of them before: whoever is expected has its own, if as many may have one.
    let mut state = 7u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let limits = Limits { own: 20 };
    let (mut expected, mut missed) = (0, 0);
    for _ in 0..500 {
        let count = 1 + random(20);
        let mut wheels: Vec<Weight> = (0..count).map(|n| weight(&format!("w{n}"), 1, random(5 << 20))).collect();
        let mut previous: Option<Grouping> = None;
        for version in 2..6 {
            let grouping = group(&wheels, previous.as_ref(), limits);
            for wheel in &wheels {
                let (guess, own) = (expects_own(wheel, previous.as_ref()), grouping.place(&wheel.name) == Place::Own);
                assert!(own || !guess, "{wheel:?} {previous:?}");
                expected += usize::from(guess);
                missed += usize::from(own && !guess);
            }
            previous = Some(grouping);
            let at = random(wheels.len() as u64) as usize;
            wheels[at] = weight(&format!("w{at}"), version, random(5 << 20));
        }
    }
    assert!(expected > 10 * missed, "{expected} {missed}");
}
