//! Named places at which a crash test stops a daemon.

/// Stops here for good when `ORDERS_FAILPOINT` is `name`, so that a crash test can kill the daemon there.
///
/// Only in builds with debug assertions; a release build compiles it to nothing.
pub async fn failpoint(name: &str) {
    #[cfg(debug_assertions)]
    if std::env::var_os("ORDERS_FAILPOINT").is_some_and(|wanted| wanted == name) {
        tracing::warn!("failpoint {name} reached, waiting to be killed");
        std::future::pending::<()>().await;
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}
