//! `top` in a terminal.

use std::{
    fs::File,
    io::{Read, Write},
    sync::{Arc, Mutex},
    thread,
};

use orders_testkit::{Stack, eventually};
use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};
use tokio::process::Child;

use crate::orderctl::orderctl;

/// How a frame begins and ends.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";

/// `orderctl top` in a terminal of 80 columns.
struct Screen {
    keyboard: File,
    /// The side of the terminal that programs see.
    terminal: File,
    /// Everything that was written to it.
    written: Arc<Mutex<Vec<u8>>>,
    process: Child,
    before: Termios,
}

impl Screen {
    fn open(stack: &Stack) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let keyboard = openpt(flags).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let terminal = File::from(ioctl_tiocgptpeer(&keyboard, flags).unwrap());
        let size = Winsize {
            ws_row: 60,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).unwrap();
        let before = tcgetattr(&terminal).unwrap();
        let side = || terminal.try_clone().unwrap();
        let mut command = orderctl(stack, &["top"]);
        command.stdin(side()).stdout(side()).stderr(side());
        let process = command.spawn().unwrap();
        let keyboard = File::from(keyboard);
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, seen) = (keyboard.try_clone().unwrap(), Arc::clone(&written));
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            // It ends with an error when nobody has the other side any more.
            while let Ok(read) = reader.read(&mut buffer) {
                seen.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        Self {
            keyboard,
            terminal,
            written,
            process,
            before,
        }
    }

    fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// The last frame that is whole.
    fn frame(&self) -> String {
        let written = self.written();
        let whole = written.rsplit_once(END).map_or("", |(whole, _)| whole);
        let frame = whole.rsplit_once(BEGIN).map_or("", |(_, frame)| frame);
        frame.to_owned()
    }

    async fn shows(&self, what: &str, fits: impl Fn(&str) -> bool) {
        eventually(what, async || {
            let frame = self.frame();
            if fits(&frame) { Ok(()) } else { Err(frame) }
        })
        .await;
    }

    async fn leaves_everything_as_it_was(mut self) {
        let status = self.process.wait().await.unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.written());
        let after = tcgetattr(&self.terminal).unwrap();
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        assert_eq!(after.local_modes, self.before.local_modes);
        eventually("the screen and the cursor are back", async || {
            let written = self.written();
            let is_back = written.ends_with("\x1b[?25h\x1b[?1049l");
            if is_back { Ok(()) } else { Err(written) }
        })
        .await;
    }
}

#[tokio::test]
async fn a_terminal_shows_what_changes_and_is_left_as_it_was() {
    let mut stack = Stack::start().await;
    let mut realtime = stack
        .daemon("realtime")
        .env("PS", "realtime.1")
        .start()
        .await;
    let mut screen = Screen::open(&stack);
    screen
        .shows("a daemon, and what is not there", |frame| {
            let parts = [
                "realtime.1",
                "ready",
                "CANNOT SEE",
                "none answers",
                "last 0 s",
            ];
            parts.iter().all(|part| frame.contains(part))
        })
        .await;
    let raw = tcgetattr(&screen.terminal).unwrap();
    assert_ne!(
        raw.local_modes, screen.before.local_modes,
        "it hears each key"
    );
    screen
        .shows("rates", |frame| {
            frame.contains("CONSUMER") && !frame.contains("last 0 s")
        })
        .await;

    realtime.kill().await;
    screen
        .shows("who is silent", |frame| {
            frame.contains("realtime.1") && frame.contains("silent for ")
        })
        .await;
    realtime.restart(|setup| setup).await;
    screen
        .shows("who is back", |frame| !frame.contains("silent for "))
        .await;

    stack.nats.kill().await;
    screen
        .shows("that NATS is away, and what was before", |frame| {
            let parts = [
                "CANNOT SEE anything for ",
                "trying on",
                "below is what was",
                "CONSUMER",
            ];
            parts.iter().all(|part| frame.contains(part))
        })
        .await;
    stack.nats.restart().await;
    screen
        .shows("that it is back", |frame| {
            frame.contains("CONSUMER") && !frame.contains("CANNOT SEE anything")
        })
        .await;

    screen.keyboard.write_all(b"xq").unwrap();
    screen.leaves_everything_as_it_was().await;
    drop(realtime);
    stack.clean_up().await;
}

#[tokio::test]
async fn control_c_and_a_signal_end_it_too() {
    let mut stack = Stack::start().await;
    // Nothing is there: it waits for NATS, and ends all the same.
    stack.nats.kill().await;
    let is_waiting = |frame: &str| frame.contains("asking the daemons and NATS");
    let mut screen = Screen::open(&stack);
    screen.shows("that it waits", is_waiting).await;
    screen.keyboard.write_all(b"\x03").unwrap();
    screen.leaves_everything_as_it_was().await;

    let screen = Screen::open(&stack);
    screen.shows("that it waits", is_waiting).await;
    let id = screen.process.id().unwrap();
    let id = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    kill_process(id, Signal::TERM).unwrap();
    screen.leaves_everything_as_it_was().await;
    stack.nats.restart().await;
    stack.clean_up().await;
}
