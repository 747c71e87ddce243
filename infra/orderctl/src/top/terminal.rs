//! The terminal, which is as it was when this ends.

use std::{
    env,
    io::{self, Write as _, stdout},
};

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    queue,
    style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor},
    terminal::{
        BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
        LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
    },
};
use futures_util::StreamExt as _;
use rustix::termios::{Winsize, tcgetwinsize};

use super::screen::{Line, Tone};
use crate::output::cut;

/// The screen of its own that a terminal has for such programs.
pub(super) struct Terminal {
    events: EventStream,
    in_colour: bool,
}

impl Terminal {
    pub(super) fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        // From here on, dropping it puts everything back.
        let terminal = Self {
            events: EventStream::new(),
            in_colour: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let mut out = stdout();
        queue!(out, EnterAlternateScreen, Hide)?;
        out.flush()?;
        Ok(terminal)
    }

    /// Waits until somebody wants to leave, or another size of the terminal asks for a new drawing.
    pub(super) async fn wants_to_leave(&mut self) -> io::Result<bool> {
        loop {
            match self.events.next().await {
                Some(Ok(Event::Resize(..))) => return Ok(false),
                Some(Ok(Event::Key(key))) if leaves(key) => return Ok(true),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                // The terminal is gone.
                None => return Ok(true),
            }
        }
    }

    pub(super) fn draw(&self, lines: &[Line]) -> io::Result<()> {
        let mut out = stdout().lock();
        let Winsize { ws_row, ws_col, .. } = tcgetwinsize(&out)?;
        queue!(out, BeginSynchronizedUpdate)?;
        let lines = fit(lines, ws_row.into());
        for (row, line) in (0..).zip(&lines) {
            // First, because after a line of full width the cursor still is on its last character.
            queue!(out, MoveTo(0, row), Clear(ClearType::CurrentLine))?;
            match line.tone {
                Tone::Head => queue!(out, SetAttribute(Attribute::Bold))?,
                Tone::Bad if self.in_colour => queue!(out, SetForegroundColor(Color::Red))?,
                Tone::Bad | Tone::Plain => {}
            }
            queue!(out, Print(cut(&line.text, ws_col.into())))?;
            queue!(out, SetAttribute(Attribute::Reset), ResetColor)?;
        }
        for row in (0..ws_row).skip(lines.len()) {
            queue!(out, MoveTo(0, row), Clear(ClearType::CurrentLine))?;
        }
        queue!(out, EndSynchronizedUpdate)?;
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut out = stdout();
        let _ = queue!(out, Show, LeaveAlternateScreen);
        let _ = out.flush();
        let _ = disable_raw_mode();
    }
}

fn leaves(key: KeyEvent) -> bool {
    let is_control_c =
        key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release && (is_control_c || key.code == KeyCode::Char('q'))
}

/// The lines that `rows` have room for: without those that are empty if there is too little.
fn fit(lines: &[Line], rows: usize) -> Vec<Line> {
    let mut fitting = lines.to_vec();
    if fitting.len() > rows {
        fitting.retain(|line| !line.text.is_empty());
    }
    if fitting.len() > rows {
        let left = fitting.len() + 1 - rows.max(1);
        fitting.truncate(rows.saturating_sub(1));
        fitting.push(Line::of(format!(
            "{left} more lines: the window is too low"
        )));
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_window_shows_the_first_lines_and_how_many_there_are() {
        let lines = ["a", "", "b", "", "c", "d"].map(Line::of);
        let texts = |rows| {
            let fitting = fit(&lines, rows).into_iter();
            Vec::from_iter(fitting.map(|line| line.text))
        };
        assert_eq!(texts(9), ["a", "", "b", "", "c", "d"]);
        assert_eq!(texts(4), ["a", "b", "c", "d"]);
        assert_eq!(texts(3), ["a", "b", "2 more lines: the window is too low"]);
        assert_eq!(texts(1), ["4 more lines: the window is too low"]);
    }

    #[test]
    fn q_and_control_c_leave() {
        let key = |code, modifiers| leaves(KeyEvent::new(KeyCode::Char(code), modifiers));
        assert!(key('q', KeyModifiers::NONE) && key('c', KeyModifiers::CONTROL));
        assert!(!key('c', KeyModifiers::NONE) && !key('x', KeyModifiers::NONE));
    }
}
