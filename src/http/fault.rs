//! Where a refused body is wrong, as the log is told: in the words of the API and in numbers, and in none that a phone
//! has sent. What an answer says in full is for the phone that knows it already.

use super::error::ApiError;

/// What is wrong with a body, without anything of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where the first problem is: a place as `invoice.create[2].products[0].quantity`, or in the text as
    /// `line 1 column 22`; empty if it is the body as a whole.
    pub at: String,
    /// What kind of problem that is, where there are several kinds.
    pub code: Option<&'static str>,
    /// How many problems the answer tells.
    pub count: usize,
}

impl Fault {
    /// What an error says of the body, if it does.
    pub fn of(error: &ApiError) -> Option<Self> {
        if let ApiError::MalformedJson(why) = error {
            return Some(Self { at: format!("line {} column {}", why.line, why.column), code: None, count: 1 });
        }
        let problems = error.problems()?;
        let first = problems.first();
        Some(Self { at: place(&first.path), code: Some(first.code.as_str()), count: problems.count() })
    }
}

/// A JSON pointer as people write it. Its members are the API's own: one that a phone has named is warned of, which is no
/// problem.
fn place(pointer: &str) -> String {
    let mut place = String::new();
    for step in pointer.split('/').skip(1) {
        if step.bytes().all(|byte| byte.is_ascii_digit()) {
            place.extend(["[", step, "]"]);
        } else {
            let dot = if place.is_empty() { "" } else { "." };
            place.extend([dot, step]);
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{MalformedJson, Problem, ProblemCode, Problems};

    #[test]
    fn a_place_is_told_and_no_text() {
        let problem = |path: &str| Problem {
            path: path.to_owned(),
            code: ProblemCode::OutOfRange,
            message: "Rosa owes 12".to_owned(),
        };
        let paths = ["/invoice/create/2/products/0/quantity", "/item/delete/17"];
        let error = ApiError::Rejected(Problems::of(paths.map(problem).into()).unwrap());
        let at = "invoice.create[2].products[0].quantity".to_owned();
        assert_eq!(Fault::of(&error), Some(Fault { at, code: Some("out_of_range"), count: 2 }));
        assert_eq!(place("/item/delete/17"), "item.delete[17]");
        assert_eq!(place(""), "");

        let why = MalformedJson { detail: "member \"Rosa\" stands twice".to_owned(), line: 3, column: 14 };
        let at = "line 3 column 14".to_owned();
        assert_eq!(Fault::of(&ApiError::MalformedJson(why)), Some(Fault { at, code: None, count: 1 }));
        assert_eq!(Fault::of(&ApiError::Unauthorized), None);
    }
}
