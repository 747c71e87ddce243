//! systemd, of which the tests run two tools.

use std::path::PathBuf;

use anyhow::Result;

use super::debian;
use crate::workspace::on_path;

/// The root of systemd: that of this machine, or else a folder with Debian's, which is only unpacked, because to install
/// it starts parts of it. The other libraries that it needs are there in `lib`.
pub(crate) async fn systemd() -> Result<PathBuf> {
    const PACKAGES: &str = "\
        libraries=$(apt-cache depends systemd libsystemd-shared \
            | grep -oE 'lib(apparmor|ip4tc|kmod|seccomp|systemd-shared)[^ ]*' | sort -u)\n\
        echo systemd $libraries";
    if on_path("systemd-analyze").is_some() {
        return Ok("/".into());
    }
    debian("systemd", PACKAGES).await
}
