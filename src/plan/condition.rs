//! One condition of a route's `where`: read from its text, typed by how its column stands on the wire, asked of rows.
//!
//! `status != 'DRAFT'`, `total > 10`, `deleted_at is null`, `kind in ('a', 'b')`, `op in ('r', 'c', 'u')`. A comparison
//! with null is not true, whatever it asks.

mod parse;
mod literal;

use std::cmp::Ordering;

use self::literal::{Family, order};
use self::parse::{Parsed, Subject, Token};
use crate::change::Op;
use crate::row::Value;
use crate::row::wire::Wire;

/// A condition whose column is found and whose literals have the column's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// As it was written, for messages.
    pub text: String,
    test: Test,
}

/// What a condition says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    True,
    /// False, or null: SQL keeps neither.
    NotTrue,
    /// The record does not say what the condition asks for.
    Unknown,
}

/// How two values that have an order are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    /// `=` and `in`; with `not`, `!=` and `not in`.
    OneOf {
        field: usize,
        family: Family,
        literals: Vec<Value>,
        not: bool,
    },
    Ordered {
        field: usize,
        family: Family,
        relation: Relation,
        literal: Value,
    },
    IsNull {
        field: usize,
        not: bool,
    },
    Op {
        ops: Vec<Op>,
        not: bool,
    },
}

/// What a condition is about, before its column is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    text: String,
    parsed: Parsed,
}

impl Draft {
    /// Reads the text. An error says where in it, and what could stand there.
    pub fn read(text: &str) -> Result<Draft, String> {
        let parsed = parse::parse(text).map_err(|error| error.in_text(text))?;
        Ok(Draft { text: text.into(), parsed })
    }

    /// The column that it asks for; `None` when it asks for the op.
    pub fn column(&self) -> Option<&str> {
        match &self.parsed.subject {
            Subject::Column(name) => Some(name),
            Subject::Op => None,
        }
    }

    /// The condition on the op.
    pub fn of_op(self) -> Result<Condition, String> {
        let ops = |literals: &[(usize, Token)]| -> Result<Vec<Op>, parse::ParseError> {
            literals.iter().map(|(at, token)| op(*at, token)).collect()
        };
        let test = match &self.parsed.test {
            parse::Test::OneOf { literals, not } => ops(literals).map(|ops| Test::Op { ops, not: *not }),
            parse::Test::Ordered { at, .. } => Err(parse::error(*at, "`op` has no order: write =, !=, in or not in")),
            parse::Test::IsNull { .. } => Err(parse::error(0, "`op` is never null")),
        };
        match test {
            Ok(test) => Ok(Condition { text: self.text, test }),
            Err(error) => Err(error.in_text(&self.text)),
        }
    }

    /// The condition on this field of the row. `wire` is how its values stand on the wire, where that is known; only
    /// `is null` needs no type.
    pub fn of_field(self, field: usize, wire: Option<&Wire>) -> Result<Condition, String> {
        let family = wire.and_then(Family::of);
        let typed = |at: usize, token: &Token| match (family, wire) {
            (Some(family), _) => family.literal(at, token),
            (None, Some(wire)) => Err(parse::error(at, format!("a column of {wire} can only be asked for `is null`"))),
            (None, None) => {
                let text = "nothing says the column's type before the first record: add it to the route's `types`";
                Err(parse::error(at, text))
            }
        };
        let test = match &self.parsed.test {
            parse::Test::IsNull { not } => Ok(Test::IsNull { field, not: *not }),
            parse::Test::OneOf { literals, not } => {
                let literals: Result<Vec<Value>, _> = literals.iter().map(|(at, token)| typed(*at, token)).collect();
                literals.map(|literals| {
                    let family = family.unwrap_or(Family::Text);
                    Test::OneOf { field, family, literals, not: *not }
                })
            }
            parse::Test::Ordered { at, relation, literal: (of_literal, token) } => {
                typed(*of_literal, token).and_then(|literal| match family {
                    Some(family) if family.has_order() => {
                        Ok(Test::Ordered { field, family, relation: *relation, literal })
                    }
                    _ => Err(parse::error(
                        *at,
                        "this type has no order here that is certainly the source's: use = or in",
                    )),
                })
            }
        };
        match test {
            Ok(test) => Ok(Condition { text: self.text, test }),
            Err(error) => Err(error.in_text(&self.text)),
        }
    }
}

impl Condition {
    /// The field of the row that it asks for; `None` when it asks for the op.
    pub fn field(&self) -> Option<usize> {
        match &self.test {
            Test::OneOf { field, .. } | Test::Ordered { field, .. } | Test::IsNull { field, .. } => Some(*field),
            Test::Op { .. } => None,
        }
    }

    /// Whether its literals can be compared with values that stand on the wire like this.
    pub fn fits(&self, wire: &Wire) -> bool {
        match &self.test {
            Test::OneOf { family, .. } | Test::Ordered { family, .. } => Family::of(wire) == Some(*family),
            Test::IsNull { .. } | Test::Op { .. } => true,
        }
    }

    /// What it says of a row, and of what happened to it where that is known.
    pub fn judge(&self, row: &[Value], op: Option<Op>) -> Truth {
        let value = |field: &usize| row.get(*field).unwrap_or(&Value::Absent);
        match &self.test {
            Test::Op { ops, not } => op.map_or(Truth::Unknown, |op| Truth::of(ops.contains(&op) != *not)),
            Test::IsNull { field, not } => match value(field) {
                Value::Absent | Value::Unavailable => Truth::Unknown,
                value => Truth::of((*value == Value::Null) != *not),
            },
            Test::OneOf { field, literals, not, .. } => {
                compared(value(field), literals, |orders| orders.contains(&Ordering::Equal) != *not)
            }
            Test::Ordered { field, relation, literal, .. } => {
                compared(value(field), std::slice::from_ref(literal), |orders| orders.iter().all(|it| relation.is(*it)))
            }
        }
    }
}

impl Truth {
    fn of(holds: bool) -> Truth {
        if holds { Truth::True } else { Truth::NotTrue }
    }
}

impl Relation {
    fn is(self, order: Ordering) -> bool {
        match self {
            Relation::Less => order.is_lt(),
            Relation::LessOrEqual => order.is_le(),
            Relation::Greater => order.is_gt(),
            Relation::GreaterOrEqual => order.is_ge(),
        }
    }
}

fn compared(value: &Value, literals: &[Value], holds: impl FnOnce(&[Ordering]) -> bool) -> Truth {
    match value {
        Value::Absent | Value::Unavailable => Truth::Unknown,
        Value::Null => Truth::NotTrue,
        value => {
            // What has another form than its column should have cannot be judged.
            let orders: Option<Vec<Ordering>> = literals.iter().map(|literal| order(value, literal)).collect();
            orders.map_or(Truth::Unknown, |orders| Truth::of(holds(&orders)))
        }
    }
}

fn op(at: usize, token: &Token) -> Result<Op, parse::ParseError> {
    match token {
        Token::Text(text) => match text.as_str() {
            "r" | "read" => return Ok(Op::Read),
            "c" | "create" => return Ok(Op::Create),
            "u" | "update" => return Ok(Op::Update),
            "d" | "delete" => return Err(parse::error(at, "a delete always deletes, and asks no condition")),
            _ => {}
        },
        Token::Number(_) | Token::Bool(_) => {}
    }
    Err(parse::error(at, "`op` is one of 'r' (read), 'c' (create), 'u' (update)"))
}

#[cfg(test)]
mod tests;
