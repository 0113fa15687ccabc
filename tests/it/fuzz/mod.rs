//! The fuzz targets on stable: each of them over its committed corpus (`fuzz/corpus/<target>/`) and over a number of
//! mutations of it, the same ones every time. `SWITCHBOARD_FUZZ_ROUNDS` sets how many; `fuzz/README.md` says how the same
//! targets run under libFuzzer.

mod mutate;
mod targets;

use std::{collections::BTreeSet, fs, panic, path::Path};

use mutate::{Dice, mutate};
use targets::Target;

/// Mutations of each corpus, unless the environment says otherwise.
const ROUNDS: usize = 3_000;

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// The inputs of a target, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder("corpus").join(name)).unwrap();
    let files: BTreeSet<_> = files.map(|file| file.unwrap().path()).collect();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn run(name: &str) {
    let (_, target) = targets::ALL.iter().find(|(known, _)| *known == name).unwrap();
    let corpus = corpus(name);
    let accepted = corpus.iter().filter(|input| tried(name, *target, input)).count();
    // A corpus that is all good or all bad would leave half of the parser to chance; of commands each input makes one.
    let refused = corpus.len() - accepted;
    assert!(accepted > 0 && (refused > 0 || name == "commands"), "{accepted} accepted, {refused} refused");
    let rounds = std::env::var("SWITCHBOARD_FUZZ_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut dice = Dice(0x5eed);
    for _ in 0..rounds {
        tried(name, *target, &mutate(&mut dice, &corpus));
    }
}

fn tried(name: &str, target: Target, input: &[u8]) -> bool {
    panic::catch_unwind(|| target(input))
        .unwrap_or_else(|_| panic!("{name} fails on b\"{}\"", input.escape_ascii()))
}

macro_rules! targets {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )+

        #[test]
        fn every_target_is_tried_here_and_by_libfuzzer() {
            let here = [$(stringify!($name)),+];
            assert!(targets::ALL.iter().map(|(name, _)| *name).eq(here));
            let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
            for name in here {
                let program = fs::read_to_string(folder("fuzz_targets").join(format!("{name}.rs"))).unwrap();
                assert!(program.contains(&format!("fuzz!(\"{name}\")")), "{name}");
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            }
            for kind in ["corpus", "fuzz_targets"] {
                assert_eq!(fs::read_dir(folder(kind)).unwrap().count(), here.len(), "{kind}");
            }
        }
    };
}

targets! {
    commands cursors filters forms json_frames links orders protobuf_frames queries socket_frames tokens
}
