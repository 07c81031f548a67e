//! The page for people, in the binary: three files without a build step, and nothing from elsewhere.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

/// Path, type and content of each file.
pub const FILES: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
    ("/page.svg", "image/svg+xml", include_str!("page/page.svg")),
];

pub fn answer((_, kind, content): (&str, &'static str, &'static str)) -> Response {
    ([(CONTENT_TYPE, kind)], content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small_and_asks_nobody_else() {
        const BYTES_MAX: usize = 150_000;
        assert!(FILES.iter().map(|(_, _, content)| content.len()).sum::<usize>() <= BYTES_MAX);
        for (path, _, content) in FILES {
            // The one address is the name of a language.
            let named = content.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(content.matches("://").count(), named, "{path}");
            assert!(!content.contains("innerHTML ="), "{path}: what a server said is never taken for markup");
            assert!(!content.contains("style=") && !content.contains("onclick="), "{path}: the policy forbids it");
        }
    }

    #[test]
    fn what_the_page_names_is_there() {
        let [(_, _, html), _, (_, _, js), _] = FILES;
        for id in js.split("$(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(html.contains(&format!("id=\"{id}\"")), "no element {id}");
        }
        for (path, ..) in FILES.iter().skip(1) {
            assert!(html.contains(&format!("\"{path}\"")), "{path} is not used");
        }
    }
}
