//! Real processes: /bin/sh plays ffmpeg.

use std::fs;
use std::io::BufRead;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tempfile::TempDir;
use tidegate_process::log::Policy;
use tidegate_process::{Argv, Error, Exit, GUARD_ARGUMENT, GuardProgram, Job, Settings, Supervisor, command};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;

const FIXTURE: &str = env!("CARGO_BIN_EXE_process-fixture");

/// Longest patience of a test; far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn supervisor(max_processes: usize) -> Supervisor {
    supervisor_with_guard(max_processes, "anonymous")
}

/// `name` is a further argument of the guard, which takes no notice, to find it by.
fn supervisor_with_guard(max_processes: usize, name: &str) -> Supervisor {
    let guard = GuardProgram {
        program: FIXTURE.into(),
        arguments: vec![GUARD_ARGUMENT.into(), name.into()],
    };
    Supervisor::new(Settings { max_processes, guard }).unwrap()
}

fn sh(script: &str) -> Job {
    job("job", Argv::new("/bin/sh", ["-c".into(), script.into()]))
}

fn job(id: &str, argv: Argv) -> Job {
    Job {
        id: id.to_owned(),
        argv,
        log: None,
    }
}

async fn run(job: Job) -> Exit {
    supervisor(1).start(job).await.unwrap().wait().await
}

fn exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// By the shell, since a small installation has no program of this name.
fn kill(signal: &str, pid: u32) {
    let status = Command::new("sh")
        .args(["-c", "kill $0 $1", signal, &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "kill {signal} {pid}");
}

/// A named pipe that a script opens as its descriptor 9: tells when it is ready, and when all its descendants are gone.
struct Life {
    folder: TempDir,
    reader: Option<Reader>,
}

/// Never blocks a thread, so that a test that waits in vain fails instead of hanging.
type Reader = BufReader<pipe::Receiver>;

impl Life {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("life");
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        // Linux tells of an end only after somebody has opened the other side.
        let reader = pipe::OpenOptions::new().open_receiver(path).unwrap();
        Self {
            folder,
            reader: Some(BufReader::new(reader)),
        }
    }

    /// To be put at the start of a script; then `echo x >&9` says that it is ready.
    fn line(&self) -> String {
        format!("exec 9>'{}'; ", self.path().display())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("life")
    }

    /// Waits for the first line.
    async fn ready(&mut self) -> Reader {
        let mut reader = self.reader.take().expect("is asked once");
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, reader.read_line(&mut line))
            .await
            .expect("script is not ready")
            .unwrap();
        assert!(line.ends_with('\n'), "ended before it was ready");
        reader
    }
}

/// Waits until nobody holds the pipe any more.
async fn all_gone(mut reader: Reader) {
    tokio::time::timeout(PATIENCE, reader.read_to_end(&mut Vec::new()))
        .await
        .expect("a descendant lives on")
        .unwrap();
}

#[tokio::test]
async fn exit_code_and_last_words_come_at_once() {
    let supervisor = supervisor(1);
    let child = supervisor
        .start(sh("echo to-stdout; echo 'x: Connection refused' >&2; exit 7"))
        .await
        .unwrap();
    let exit = child.wait().await;
    assert_eq!((exit.code, exit.signal, exit.stopped), (Some(7), None, false));
    assert_eq!(exit.tail, "to-stdout\nx: Connection refused");
    assert_eq!(
        exit.to_string(),
        "ffmpeg exited with code 7: x: Connection refused"
    );
    assert!(exit.ran_for < PATIENCE);
    assert!(!exists(child.pid()), "a zombie is left");
    assert_eq!(child.wait().await, exit, "the end can be asked for again");
    assert_eq!(supervisor.running(), 0);
}

#[tokio::test]
async fn death_by_signal_is_told() {
    let exit = run(sh("kill -SEGV $$")).await;
    assert_eq!((exit.code, exit.signal), (None, Some(11)));
    assert_eq!(exit.to_string(), "ffmpeg was killed by signal 11");
}

#[tokio::test]
async fn secrets_in_the_output_are_masked() {
    let exit = run(sh("echo 'rtsp://admin:pw@cam/1?token=abc: 401' >&2")).await;
    assert_eq!(exit.tail, "rtsp://***@cam/1?token=***: 401");
}

#[tokio::test]
async fn missing_or_forbidden_program_names_path_and_key() {
    let supervisor = supervisor(1);
    let error = supervisor
        .start(job("a", Argv::new("/nowhere/ffmpeg", [])))
        .await
        .unwrap_err();
    assert!(matches!(&error, Error::NotFound { program } if program == Path::new("/nowhere/ffmpeg")));
    assert!(
        error.to_string().contains("/nowhere/ffmpeg") && error.to_string().contains("ffmpeg.bin"),
        "{error}"
    );
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("ffmpeg");
    fs::write(&plain, "x").unwrap();
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o600)).unwrap();
    let error = supervisor
        .start(job("a", Argv::new(&plain, [])))
        .await
        .unwrap_err();
    assert!(matches!(&error, Error::NotExecutable { program } if *program == plain));
    assert_eq!(supervisor.running(), 0, "a failed start gives its slot back");
    assert!(supervisor.start(sh("exit 0")).await.is_ok());
}

#[tokio::test]
async fn polite_stop_lets_it_finish() {
    let mut life = Life::new();
    // The inner shell says "ready", since only then the outer one surely waits and its trap works at once.
    let trap = "trap 'echo trailer written; exit 0' TERM";
    let script = format!("{} {trap}; (echo x >&9; exec sleep 1000); exit 5", life.line());
    let supervisor = supervisor(1);
    let child = supervisor.start(sh(&script)).await.unwrap();
    let reader = life.ready().await;
    let exit = child.stop(PATIENCE).await;
    assert_eq!(
        (exit.code, exit.stopped, exit.last_line()),
        (Some(0), true, "trailer written")
    );
    all_gone(reader).await;
}

#[tokio::test]
async fn ignoring_sigterm_ends_in_sigkill() {
    let mut life = Life::new();
    let script = format!(
        "{} trap '' TERM; echo x >&9; while :; do sleep 1000; done",
        life.line()
    );
    let supervisor = supervisor(1);
    let child = supervisor.start(sh(&script)).await.unwrap();
    let reader = life.ready().await;
    let exit = child.stop(Duration::from_millis(30)).await;
    assert_eq!((exit.code, exit.signal, exit.stopped), (None, Some(9), true));
    assert!(
        exit.ran_for >= Duration::from_millis(30),
        "the polite time was kept"
    );
    all_gone(reader).await;
    assert!(!exists(child.pid()));
}

#[tokio::test]
async fn more_urgent_stop_overtakes() {
    let mut life = Life::new();
    let script = format!(
        "{} trap '' TERM; echo x >&9; while :; do sleep 1000; done",
        life.line()
    );
    let supervisor = supervisor(1);
    let child = supervisor.start(sh(&script)).await.unwrap();
    let reader = life.ready().await;
    child.ask_to_stop(PATIENCE * 2);
    assert_eq!(child.stop(Duration::ZERO).await.signal, Some(9));
    all_gone(reader).await;
}

#[tokio::test]
async fn grandchild_ends_when_the_wrapper_is_killed() {
    let mut life = Life::new();
    let script = format!("{} sleep 1000 & echo x >&9; wait", life.line());
    let supervisor = supervisor(1);
    let child = supervisor.start(sh(&script)).await.unwrap();
    let reader = life.ready().await;
    kill("-9", child.pid());
    let exit = child.wait().await;
    assert_eq!((exit.signal, exit.stopped), (Some(9), false));
    all_gone(reader).await;
}

#[tokio::test]
async fn stubborn_grandchild_of_a_polite_wrapper_is_killed() {
    let mut life = Life::new();
    let script = format!(
        "{} (trap '' TERM; echo x >&9; while :; do sleep 1000; done) & wait",
        life.line()
    );
    let supervisor = supervisor(1);
    let child = supervisor.start(sh(&script)).await.unwrap();
    let reader = life.ready().await;
    child.stop(Duration::from_millis(30)).await;
    all_gone(reader).await;
}

#[tokio::test]
async fn dropping_the_handle_stops_the_child() {
    let mut life = Life::new();
    let supervisor = supervisor(1);
    let child = supervisor
        .start(sh(&format!("{} echo x >&9; sleep 1000", life.line())))
        .await
        .unwrap();
    let reader = life.ready().await;
    drop(child);
    all_gone(reader).await;
}

#[tokio::test]
async fn dropping_the_last_supervisor_stops_the_children() {
    let mut life = Life::new();
    let supervisor = supervisor(1);
    let child = supervisor
        .start(sh(&format!("{} echo x >&9; sleep 1000", life.line())))
        .await
        .unwrap();
    let reader = life.ready().await;
    drop(supervisor);
    all_gone(reader).await;
    assert_eq!(child.wait().await.signal, Some(15));
}

#[tokio::test]
async fn shutdown_ends_everything() {
    let mut life = Life::new();
    let guard_name = "guard-that-is-shut-down";
    let supervisor = supervisor_with_guard(2, guard_name);
    let stubborn = format!(
        "{} trap '' TERM; echo x >&9; while :; do sleep 1000; done",
        life.line()
    );
    let one = supervisor
        .start(job("1", Argv::new("/bin/sh", ["-c".into(), stubborn.into()])))
        .await
        .unwrap();
    let two = supervisor
        .start(job("2", Argv::new("sleep", ["1000".into()])))
        .await
        .unwrap();
    let reader = life.ready().await;
    assert_eq!(children_of(std::process::id(), guard_name).len(), 1);
    supervisor.shutdown(Duration::from_millis(30)).await;
    assert_eq!(
        (one.wait().await.signal, two.wait().await.signal),
        (Some(9), Some(15))
    );
    all_gone(reader).await;
    assert_eq!(
        children_of(std::process::id(), guard_name),
        [0; 0],
        "the guard has ended too"
    );
    assert!(matches!(supervisor.start(sh("exit 0")).await, Err(Error::Closed)));
    supervisor.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn number_of_processes_is_bounded_and_ids_are_unique() {
    let supervisor = supervisor(2);
    let start = async |id: &str| {
        supervisor
            .start(job(id, Argv::new("sleep", ["1000".into()])))
            .await
    };
    let one = start("1").await.unwrap();
    assert!(matches!(start("1").await, Err(Error::AlreadyRunning { id }) if id == "1"));
    let _two = start("2").await.unwrap();
    let error = start("3").await.unwrap_err();
    assert!(error.to_string().contains("ffmpeg.max_processes is 2"), "{error}");
    one.stop(PATIENCE).await;
    let _again = start("1").await.unwrap();
    supervisor.set_max_processes(3);
    let _three = start("3").await.unwrap();
    assert_eq!(supervisor.running(), 3);
}

#[tokio::test]
async fn url_is_one_argument() {
    let src = "rtsp://cam/1 -y '$(id)' \"x\" ; id";
    let argv = command::build("%s '[%%s]\n' %s %s", Path::new("printf"), src, "rtmp://a b").unwrap();
    assert_eq!(run(job("a", argv)).await.tail, format!("[{src}]\n[rtmp://a b]"));
}

#[tokio::test]
async fn child_has_its_own_group_and_no_input() {
    let supervisor = supervisor(1);
    let child = supervisor
        .start(sh("read x; echo $?; cut -d' ' -f5 /proc/self/stat"))
        .await
        .unwrap();
    assert_eq!(child.wait().await.tail, format!("1\n{}", child.pid()));
}

#[test]
fn nothing_is_inherited() {
    // A server that was started with an open descriptor 7 and with ignored signals.
    let script = "exec 7</dev/null; trap '' USR1 INT; exec \"$0\" run sh -c 'ls /proc/self/fd; grep -E Sig[BI] /proc/self/status'";
    let output = Command::new("sh")
        .args(["-c", script, FIXTURE])
        .env("TIDEGATE_X", "1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (files, signals) = text.split_once("Sig").unwrap();
    assert_eq!(files, "0\n1\n2\n3\n", "3 is the folder that ls reads");
    // Signals 32 and 33 belong to the C library, which lets nobody change them; a container's first process may have.
    for mask in signals
        .lines()
        .map(|line| u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap())
    {
        assert_eq!(mask & !(0b11 << 31), 0, "{text}");
    }
}

#[test]
fn own_configuration_is_not_shown_to_children() {
    let output = Command::new(FIXTURE)
        .args(["run", "env"])
        .env("TIDEGATE_SECRET", "s3cret")
        .env("OTHER", "kept")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("s3cret") && text.contains("OTHER=kept"), "{text}");
}

#[tokio::test]
async fn log_is_rotated_and_names_command_and_end() {
    let folder = tempfile::tempdir().unwrap();
    let policy = Policy {
        max_bytes: 2000,
        ..Policy::new(folder.path().join("new/ffmpeg.log"))
    };
    let supervisor = supervisor(1);
    let file = policy.file("job");
    let mut first = sh("echo rtmp://u:p@h/x; exit 3");
    first.log = Some(policy.clone());
    let child = supervisor.start(first).await.unwrap();
    child.wait().await;
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[0].ends_with(&format!(
            "[{}] /bin/sh -c 'echo rtmp://***@h/x; exit 3'",
            child.pid()
        )),
        "{text}"
    );
    assert_eq!(lines[1], "rtmp://***@h/x");
    assert!(
        lines[2].ends_with("ffmpeg exited with code 3: rtmp://***@h/x"),
        "{text}"
    );
    let mut second = sh("i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done");
    second.log = Some(policy.clone());
    supervisor.start(second).await.unwrap().wait().await;
    let sizes: Vec<_> = fs::read_dir(file.parent().unwrap())
        .unwrap()
        .map(|e| e.unwrap().metadata().unwrap().len())
        .collect();
    assert!(
        sizes.len() == 2 && sizes.iter().all(|size| *size <= 2000),
        "{sizes:?}"
    );
    assert!(fs::read_to_string(&file).unwrap().contains("\nline 499\n"));
}

#[test]
fn fifty_starts_and_stops_leak_nothing() {
    // In a process of its own, whose descriptors and children belong to no other test.
    let output = Command::new(FIXTURE)
        .args(["churn", "sleep", "1000"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0 0\n");
}

/// Direct children whose command line contains `part`.
fn children_of(pid: u32, part: &str) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    let pids: Vec<u32> = lists
        .flat_map(|list| {
            list.split_whitespace()
                .map(|pid| pid.parse().unwrap())
                .collect::<Vec<_>>()
        })
        .collect();
    pids.into_iter()
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(part))
        })
        .collect()
}

/// A server that runs a wrapper script with a stubborn grandchild, to be killed.
struct Server {
    process: std::process::Child,
    child: u32,
}

impl Server {
    fn start(script: &str) -> Self {
        let mut command = Command::new(FIXTURE);
        command
            .args(["serve", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        std::io::BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            process,
            child: line.trim().parse().unwrap(),
        }
    }

    fn guard(&self) -> Option<u32> {
        children_of(self.process.id(), GUARD_ARGUMENT).first().copied()
    }

    /// The kernel tells of no births, so this looks until one is there.
    async fn wait_for_guard(&self, accept: impl Fn(u32) -> bool) -> u32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(guard) = self.guard().filter(|guard| accept(*guard)) {
                return guard;
            }
            assert!(Instant::now() < deadline, "no guard");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that failed must not leave it behind.
        let _already_dead = self.process.kill();
        let _status = self.process.wait();
    }
}

/// A descriptor of a process is readable when that process has ended (pidfd_open(2)), whoever may have to reap it.
fn wait_until_gone(pid: u32) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH) => return,
        Err(error) => panic!("{error}"),
    };
    let patience = PATIENCE.try_into().unwrap();
    let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience));
    assert_eq!(ended.unwrap(), 1, "it lives on");
}

#[tokio::test]
async fn killed_server_leaves_no_descendant() {
    let mut life = Life::new();
    let mut server = Server::start(&format!("{} sleep 1000 & echo x >&9; wait", life.line()));
    let reader = life.ready().await;
    let guard = server.guard().expect("a guard runs");
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    all_gone(reader).await;
    wait_until_gone(guard);
}

#[tokio::test]
async fn killed_server_leaves_no_stubborn_descendant() {
    let mut life = Life::new();
    let script = format!(
        "{} (trap '' TERM; echo x >&9; while :; do sleep 1000; done) & wait",
        life.line()
    );
    let mut server = Server::start(&script);
    let reader = life.ready().await;
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    all_gone(reader).await;
}

#[tokio::test]
async fn guard_survives_what_a_terminal_sends_and_is_replaced_when_killed() {
    let mut life = Life::new();
    let mut server = Server::start(&format!("{} sleep 1000 & echo x >&9; wait", life.line()));
    let reader = life.ready().await;
    let first = server.guard().expect("a guard runs");
    for signal in ["-INT", "-TERM", "-HUP"] {
        kill(signal, first);
    }
    kill("-9", first);
    let second = server.wait_for_guard(|guard| guard != first).await;
    assert!(exists(server.child));
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    all_gone(reader).await;
    wait_until_gone(second);
}

#[tokio::test]
async fn adopted_orphans_are_reaped() {
    let mut life = Life::new();
    let script = format!(
        "{} (trap '' TERM; echo x >&9; while :; do sleep 1000; done) & wait",
        life.line()
    );
    let mut command = Command::new(FIXTURE);
    let mut server = command
        .args(["adopt", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let reader = life.ready().await;
    drop(server.stdin.take());
    all_gone(reader).await;
    assert_eq!(
        String::from_utf8(server.wait_with_output().unwrap().stdout).unwrap(),
        "0\n"
    );
}
