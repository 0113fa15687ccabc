//! What notices say, as text, HTML and short text. The sentence that invites is the organisation's own where it has one.

use super::{people::escaped, workboxes::GuestNotice};
use crate::store::organizations::OrganizationRow;

/// What stands in a text where the link goes.
pub const LINK: &str = "{link}";
/// Longest sentence of an organisation, in characters.
pub const SENTENCE_LIMIT: usize = 500;

/// The texts of a notice.
pub(super) struct Letter {
    pub subject: String,
    pub text: String,
    pub html: String,
    pub short: String,
}

/// A letter about an account.
#[derive(Clone, Copy, Debug)]
pub struct AccountLetter<'a> {
    /// Who makes the account.
    pub inviter: &'a str,
    /// Whose it is.
    pub name: &'a str,
    /// Signs in with it.
    pub email: &'a str,
    /// The person is asked first.
    pub invited: bool,
    /// The person chooses a password by the notice's link.
    pub chooses_password: bool,
    /// Where people sign in.
    pub url: &'a str,
}

/// What people wrote must not bring a link's place of its own.
fn plain(text: &str) -> String {
    text.replace(LINK, "")
}

/// The organisation's sentence with names in it, if it has one.
fn own_sentence(organization: &OrganizationRow, inviter: &str, thread: &str) -> Option<String> {
    let sentence = organization.invitation_text()?;
    // One pass: a name that looks like a place is a name.
    let mut said = String::new();
    let mut rest = sentence.as_str();
    while let Some(at) = rest.find('{') {
        said.push_str(&rest[..at]);
        rest = &rest[at..];
        let places =
            [("{inviter}", inviter), ("{organization}", organization.name.as_str()), ("{thread}", thread)];
        let found = places.into_iter().find(|(place, _)| rest.starts_with(place));
        let (taken, text) = found.map_or((1, "{"), |(place, text)| (place.len(), text));
        said.push_str(text);
        rest = &rest[taken..];
    }
    said.push_str(rest);
    Some(plain(&said))
}

impl Letter {
    pub(super) fn to_guest(notice: &GuestNotice<'_>, organization: &OrganizationRow) -> Self {
        let (inviter, guest, thread) = (plain(notice.inviter), plain(notice.guest), plain(notice.thread));
        let name = plain(&organization.name);
        let words = notice.message.map(plain).filter(|words| !words.trim().is_empty());
        let own = own_sentence(organization, &inviter, &thread);
        let short = match &own {
            Some(sentence) => format!("{sentence} {LINK}"),
            None => format!("{inviter} ({name}) invites you to a conversation: {LINK}"),
        };
        let invites = own.unwrap_or_else(|| match thread.as_str() {
            "" => format!("{inviter} of {name} invites you to a conversation."),
            thread => format!("{inviter} of {name} invites you to \u{201c}{thread}\u{201d}."),
        });
        let quoted = words.as_ref().map(|words| format!("{words}\n\n")).unwrap_or_default();
        let text =
            format!("Hello {guest},\n\n{invites}\n\n{quoted}Open this link to join:\n{LINK}\n\n{name}\n");
        let quoted = words.map(|words| format!("<p>{}</p>", escaped(&words))).unwrap_or_default();
        let html = format!(
            "<p>Hello {},</p><p>{}</p>{quoted}<p><a href=\"{LINK}\">Join the conversation</a></p><p>{}</p>",
            escaped(&guest),
            escaped(&invites),
            escaped(&name),
        );
        Self { subject: subject(&format!("{inviter} invites you to a conversation")), text, html, short }
    }

    pub(super) fn of_account(letter: &AccountLetter<'_>, organization: &OrganizationRow) -> Self {
        let (inviter, name, email) = (plain(letter.inviter), plain(letter.name), plain(letter.email));
        let (of, url) = (plain(&organization.name), letter.url);
        let (about, first) = if letter.invited {
            let own = own_sentence(organization, &inviter, "");
            let first = own.unwrap_or_else(|| format!("{inviter} invites you to work with {of}."));
            (format!("{inviter} invites you to {of}"), first)
        } else {
            (format!("Your account at {of}"), format!("{inviter} has made an account for you at {of}."))
        };
        let (choose, choose_html) = if letter.chooses_password {
            (
                format!("Choose your password here:\n{LINK}\n\n"),
                format!("<p><a href=\"{LINK}\">Choose your password</a></p>"),
            )
        } else {
            <_>::default()
        };
        let text = format!("Hello {name},\n\n{first}\n\n{choose}Sign in with {email} at {url}\n\n{of}\n");
        let html = format!(
            "<p>Hello {},</p><p>{}</p>{choose_html}<p>Sign in with {} at <a href=\"{url}\">{url}</a></p><p>{}</p>",
            escaped(&name),
            escaped(&first),
            escaped(&email),
            escaped(&of),
            url = escaped(url),
        );
        Self { subject: subject(&about), text, html, short: String::new() }
    }
}

/// One line, whatever names hold.
fn subject(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}
