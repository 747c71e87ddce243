use crate::{Error, xml};

/// The tag by which scanners tell what they found; this is the one of Amazon GuardDuty.
const TAG: &str = "GuardDutyMalwareScanStatus";
/// Its value for a file in which nothing was found.
const CLEAN: &str = "NO_THREATS_FOUND";
/// Its value for a file in which something was found.
const INFECTED: &str = "THREATS_FOUND";
/// Its value for a file that the scanner could not look through.
const UNSCANNABLE: &str = "FAILED";

/// What a scanner says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Pending,
    /// That it found nothing.
    Clean,
    /// That it found something.
    Infected,
    /// That it could not look through it.
    Unscannable,
}

impl Verdict {
    /// The body that tags a file with it.
    pub(crate) fn tagging(self) -> String {
        let value = match self {
            Self::Pending => "PENDING",
            Self::Clean => CLEAN,
            Self::Infected => INFECTED,
            Self::Unscannable => UNSCANNABLE,
        };
        format!(
            "<Tagging><TagSet><Tag><Key>{TAG}</Key><Value>{value}</Value></Tag></TagSet></Tagging>"
        )
    }

    /// Reads the tags of a file.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Error> {
        let document = xml::parse(body)?;
        let sets = xml::children(document.root_element(), "TagSet");
        let mut tags = sets.flat_map(|set| xml::children(set, "Tag"));
        let ours = tags.find(|tag| xml::text(*tag, "Key") == Some(TAG));
        let value = ours.map(|tag| xml::text(tag, "Value").unwrap_or_default());
        Ok(match value {
            None | Some("PENDING") => Self::Pending,
            Some(CLEAN) => Self::Clean,
            Some(INFECTED) => Self::Infected,
            Some(_) => Self::Unscannable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_tag_says() {
        for verdict in [
            Verdict::Pending,
            Verdict::Clean,
            Verdict::Infected,
            Verdict::Unscannable,
        ] {
            let tagging = verdict.tagging();
            assert_eq!(Verdict::read(tagging.as_bytes()).unwrap(), verdict);
        }
        let other = "<?xml version=\"1.0\"?><Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet>\
                     <Tag><Key>a</Key><Value>NO_THREATS_FOUND</Value></Tag></TagSet></Tagging>";
        assert_eq!(Verdict::read(other.as_bytes()).unwrap(), Verdict::Pending);
        let unknown = Verdict::Clean.tagging().replace(CLEAN, "UNSUPPORTED");
        let read = Verdict::read(unknown.as_bytes()).unwrap();
        assert_eq!(read, Verdict::Unscannable);
        assert!(Verdict::read(b"nothing").is_err());
    }
}
