//! The little that the session itself needs of a session description: sections and where they are controlled.

/// What is controlled where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    /// `a=control` of the whole.
    pub(super) control: Option<String>,
    /// Media sections, in order; at most [`MAX_SECTIONS`].
    pub(super) sections: Vec<Section>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// `video`, `audio` and so on.
    pub(super) media: String,
    /// `a=control`.
    pub(super) control: Option<String>,
}

impl Description {
    pub(super) fn parse(sdp: &str) -> Self {
        let mut description = Self::default();
        for line in sdp.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("m=") {
                if description.sections.len() == MAX_SECTIONS {
                    break;
                }
                let media = rest.split_ascii_whitespace().next().unwrap_or_default();
                description.sections.push(Section {
                    media: media.to_ascii_lowercase(),
                    control: None,
                });
            } else if let Some(control) = line.strip_prefix("a=control:") {
                let place = match description.sections.last_mut() {
                    Some(section) => &mut section.control,
                    None => &mut description.control,
                };
                *place = Some(control.trim().to_owned());
            }
        }
        description
    }
}

/// Each section takes two of 256 interleaved channels; cameras have two or three sections.
pub(super) const MAX_SECTIONS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_belong_to_the_whole_or_to_a_section() {
        let got = Description::parse(
            "v=0\r\na=control: rtsp://h/a \r\nm=video 0 RTP/AVP 96\na=control:trackID=0\nm=Audio 0 RTP/AVP 97\n",
        );
        assert_eq!(got.control.as_deref(), Some("rtsp://h/a"));
        let sections: Vec<_> = got
            .sections
            .iter()
            .map(|section| (section.media.as_str(), section.control.as_deref()))
            .collect();
        assert_eq!(sections, [("video", Some("trackID=0")), ("audio", None)]);
    }

    #[test]
    fn sections_are_bounded() {
        assert_eq!(
            Description::parse(&"m=video\n".repeat(1000)).sections.len(),
            MAX_SECTIONS
        );
    }
}
