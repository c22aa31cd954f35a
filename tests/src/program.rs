//! The program, started as a user starts it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The folder of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().to_owned()
}

/// A path in the workspace.
#[must_use]
pub fn path(relative: &str) -> PathBuf {
    root().join(relative)
}

/// The target folder: test programs lie in `TARGET/PROFILE/deps`.
pub(crate) fn target_folder() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().to_owned()
}

/// The program: what `PITWATCH_BIN` names, else the one beside the tests in the target folder.
///
/// # Panics
///
/// If it is not built.
#[must_use]
pub fn binary() -> PathBuf {
    let path = std::env::var_os("PITWATCH_BIN").map_or_else(
        || {
            let program = std::env::current_exe().unwrap();
            let profile = program.ancestors().nth(2).unwrap();
            profile.join(format!("pitwatch{}", std::env::consts::EXE_SUFFIX))
        },
        PathBuf::from,
    );
    assert!(
        path.exists(),
        "{} is not there: build it with `cargo build -p pitwatch`",
        path.display()
    );
    path
}

/// A run of the program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Checks the exit code, and returns itself.
    ///
    /// # Panics
    ///
    /// If it is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "\nstdout: {}\nstderr: {}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Checks that the program said something on standard error, and returns itself.
    ///
    /// # Panics
    ///
    /// If it did not.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "{text:?} is not in: {}",
            self.stderr
        );
        self
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let finished = Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        };
        // Whatever goes wrong, the program says so itself.
        for text in [&finished.stdout, &finished.stderr] {
            assert!(!text.contains("panicked"), "{text}");
        }
        finished
    }
}

/// The program with its arguments, to be run in the folder of the workspace.
#[must_use]
pub fn command(arguments: &[&dyn AsRef<OsStr>]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments.iter().map(AsRef::as_ref))
        .current_dir(root())
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the program in the folder of the workspace until it ends.
#[must_use]
pub fn pitwatch(arguments: &[&dyn AsRef<OsStr>]) -> Finished {
    command(arguments).output().unwrap().into()
}

/// Runs the program with further variables in its environment.
#[must_use]
pub fn pitwatch_with(variables: &[(&str, &str)], arguments: &[&dyn AsRef<OsStr>]) -> Finished {
    let mut command = command(arguments);
    command.envs(variables.iter().copied());
    command.output().unwrap().into()
}

/// Starts the program and does not wait.
#[must_use]
pub fn start(arguments: &[&dyn AsRef<OsStr>]) -> Child {
    command(arguments).spawn().unwrap()
}
