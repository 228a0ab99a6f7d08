//! Running the program in an environment of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A folder to run the program in; nothing of the user's environment reaches it.
#[derive(Debug)]
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the program, with its data in this folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_likeness"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("COLUMNS", "100");
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.finish(self.command(arguments))
    }

    #[track_caller]
    pub(crate) fn finish(&self, mut command: Command) -> Run {
        let output: Output = command.output().expect("the program can be started");
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            text.replace(&*self.folder.path().to_string_lossy(), "[FOLDER]")
        };
        Run {
            code: output.status.code().expect("the program was not killed"),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Writes pictures that are all different, and a smaller copy of the first.
    pub(crate) fn write_pictures(&self, folder: &str) {
        use likeness_vision::pixels::{Filter, RgbImage};
        let root = self.path(folder);
        std::fs::create_dir_all(root.join("sub")).unwrap();
        // Rings and hills: a model that knows pictures tells them apart, unlike two patterns.
        let rings = RgbImage::from_fn(320, 240, |x, y| {
            let distance = (x as f32 - 100.0).hypot(y as f32 - 200.0);
            [5.0, 7.0, 9.0].map(|width| (127.0 + 127.0 * (distance / width).sin()) as u8)
        });
        let hills = RgbImage::from_fn(320, 240, |x, y| {
            if (y as f32) < 120.0 + 40.0 * (x as f32 / 50.0).sin() {
                return [90, 160, 240];
            }
            let grass = 40.0 * (x as f32 / 3.0).sin() * (y as f32 / 4.0).cos();
            [50, (120.0 + grass) as u8, 40]
        });
        let (first, other) = (rings.unwrap(), hills.unwrap());
        std::fs::write(root.join("first.jpg"), first.encode_jpeg(92)).unwrap();
        std::fs::write(root.join("other.png"), other.encode_png()).unwrap();
        let copy = first
            .resize_exact(160, 120, Filter::Bilinear)
            .encode_jpeg(70);
        std::fs::write(root.join("sub/copy.jpg"), copy).unwrap();
        std::fs::write(root.join("notes.txt"), "no picture").unwrap();
    }
}

/// Returns the model folder for tests that need one, from `LIKENESS_MODELS`.
///
/// Without it those tests pass over what they test, unless `LIKENESS_REQUIRE_MODELS` is set: then
/// they fail.
pub(crate) fn models() -> Option<PathBuf> {
    let models = std::env::var_os("LIKENESS_MODELS").map(PathBuf::from);
    if models.is_none() {
        assert!(
            std::env::var_os("LIKENESS_REQUIRE_MODELS").is_none(),
            "LIKENESS_REQUIRE_MODELS is set and LIKENESS_MODELS is not"
        );
        return None;
    }
    models.map(|models| models.canonicalize().expect("LIKENESS_MODELS exists"))
}

/// A running server; ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
}

impl Server {
    /// Starts a server on the data directory `data` and waits until it can be found there.
    pub(crate) fn start(sandbox: &Sandbox, models: &Path) -> Self {
        let process = sandbox
            .command(&["serve", "--port", "0", "--data-dir", "data"])
            .env("LIKENESS_MODELS", models)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program can be started");
        let mut server = Self { process };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !sandbox.path("data/server.json").exists() {
            assert!(
                server.process.try_wait().unwrap().is_none(),
                "the server ended"
            );
            assert!(
                Instant::now() < deadline,
                "the server did not start in time"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Ends the server as an operator would, and returns its exit code.
    pub(crate) fn stop(mut self) -> i32 {
        let pid = self.process.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(killed.success());
        self.process
            .wait()
            .unwrap()
            .code()
            .expect("the server was not killed")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone after `stop`; nothing can be done about another failure.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
