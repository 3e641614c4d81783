//! Which driver a CUDA needs at least, on Linux.

/// Major and minor number of CUDA, and of the oldest driver for it. From 11.0 on all releases of one major number run on
/// the driver of its first (NVIDIA, "CUDA Compatibility", minor version compatibility, tables 1 and 2).
const OLDEST: [((u32, u32), (u32, u32)); 6] = [
    ((10, 0), (410, 48)),
    ((10, 1), (418, 39)),
    ((10, 2), (440, 33)),
    ((11, 0), (450, 0)),
    ((12, 0), (525, 0)),
    ((13, 0), (580, 0)),
];

/// The oldest driver for a CUDA; `None` for one that the table does not have.
pub(super) fn oldest(cuda: (u32, u32)) -> Option<(u32, u32)> {
    OLDEST.iter().rev().find(|(own, _)| own.0 == cuda.0 && *own <= cuda).map(|(_, driver)| *driver)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn minor_releases_run_on_the_driver_of_the_first() {
        assert_eq!(oldest((12, 8)), Some((525, 0)));
        assert_eq!(oldest((11, 8)), Some((450, 0)));
        assert_eq!(oldest((10, 1)), Some((418, 39)));
        assert_eq!((oldest((9, 2)), oldest((14, 0))), (None, None));
    }
}
