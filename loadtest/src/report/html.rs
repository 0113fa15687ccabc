//! A result as a page.
pub fn render(_: &super::Report) -> String {
    String::new()
}
