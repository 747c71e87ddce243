//! Messages that kill the daemon that handles them, for tests.

/// Panics here when `ORDERS_POISON` is `panic:ID` with this `id`, and aborts the process when it is `abort:ID`.
///
/// Only in builds with debug assertions; a release build compiles it to nothing.
///
/// # Panics
/// When the variable says so.
pub fn poison(id: &str) {
    #[cfg(debug_assertions)]
    if let Ok(poison) = std::env::var("ORDERS_POISON")
        && let Some((effect, poisoned)) = poison.split_once(':')
        && poisoned == id
    {
        match effect {
            "abort" => std::process::abort(),
            _ => panic!("poisoned by {id}"),
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = id;
}
