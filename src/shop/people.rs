//! Names and dates of birth that look real. The lists are our own, because a history must not change with a crate.

use std::fmt;

use chrono::{Days, NaiveDate};

use super::dice::Dice;

/// A person's name. It prints in at most 50 characters, the width of the column that names go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    culture: &'static Culture,
    given: &'static str,
    family: &'static str,
    second: Option<&'static str>,
}

/// Names that go together.
#[derive(Debug, PartialEq, Eq)]
struct Culture {
    order: Order,
    given: &'static [&'static str],
    family: &'static [&'static str],
    /// A second family name, where people have one.
    second: &'static [&'static str],
    joined_by: &'static str,
}

#[derive(Debug, PartialEq, Eq)]
enum Order {
    GivenFirst,
    /// Written without a space, as Chinese and Japanese names are.
    FamilyFirstJoined,
    FamilyFirst,
}

impl Name {
    pub fn draw(dice: &mut Dice) -> Self {
        let culture = &CULTURES[dice.index(CULTURES.len())];
        let (given, family) = (dice.pick(culture.given), dice.pick(culture.family));
        Name { culture, given, family, second: second(culture, dice) }
    }

    /// The same person under another family name.
    pub fn renamed(&self, dice: &mut Dice) -> Self {
        let families = self.culture.family;
        let at = families.iter().position(|family| *family == self.family).unwrap_or(0);
        let family = families[(at + dice.between(1, families.len() as u64 - 1) as usize) % families.len()];
        Name { family, second: second(self.culture, dice), ..*self }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Name { culture, given, family, second } = self;
        match culture.order {
            Order::GivenFirst => write!(f, "{given} {family}")?,
            Order::FamilyFirstJoined => write!(f, "{family}{given}")?,
            Order::FamilyFirst => write!(f, "{family} {given}")?,
        }
        second.map_or(Ok(()), |second| write!(f, "{}{second}", culture.joined_by))
    }
}

/// The date of birth of someone who was grown up when the histories begin.
pub fn birthday(dice: &mut Dice) -> NaiveDate {
    let first = NaiveDate::from_ymd_opt(1938, 1, 1).unwrap_or_default();
    let last = NaiveDate::from_ymd_opt(2006, 12, 31).unwrap_or_default();
    let days = (last - first).num_days().unsigned_abs();
    first + Days::new(dice.between(0, days))
}

fn second(culture: &Culture, dice: &mut Dice) -> Option<&'static str> {
    (!culture.second.is_empty() && dice.percent(40)).then(|| dice.pick(culture.second))
}

const CULTURES: &[Culture] = &[
    Culture {
        order: Order::GivenFirst,
        given: &[
            "Alice",
            "Grace",
            "Oliver",
            "Amelia",
            "George",
            "Harriet",
            "Noah",
            "Isla",
            "Theodore",
            "Ruby",
            "Mary-Jane",
        ],
        family: &[
            "Smith",
            "Turner",
            "Walker",
            "Bennett",
            "Fitzgerald",
            "St. John",
            "Ashworth",
            "Clarke",
            "Hughes",
            "Marsh",
        ],
        second: &["Jones", "Lloyd", "Knowles", "Wright"],
        joined_by: "-",
    },
    Culture {
        order: Order::GivenFirst,
        given: &["Aoife", "Seán", "Niamh", "Ciarán", "Sinéad", "Oisín", "Róisín", "Pádraig"],
        family: &["O'Brien", "O'Sullivan", "D'Arcy", "McCarthy", "Ní Dhomhnaill", "Byrne", "O'Shaughnessy"],
        second: &[],
        joined_by: "",
    },
    Culture {
        order: Order::GivenFirst,
        given: &["José", "María", "Iñaki", "Lucía", "Andrés", "Begoña", "Raúl", "María de los Ángeles", "Ángel"],
        family: &["García", "Muñoz", "Ibáñez", "de la Fuente", "Núñez", "Fernández de Córdoba", "Sánchez", "Pérez"],
        second: &["Olivares", "Gil", "Peña", "Ruiz", "Cano", "Vega", "Güell"],
        joined_by: " ",
    },
    Culture {
        order: Order::GivenFirst,
        given: &["Łukasz", "Małgorzata", "Paweł", "Agnieszka", "Stanisław", "Zofia", "Grażyna", "Michał"],
        family: &["Wójcik", "Kowalczyk", "Dąbrowska", "Zieliński", "Szczęsny", "Brzęczyszczykiewicz", "Żak", "Nowak"],
        second: &[],
        joined_by: "",
    },
    Culture {
        order: Order::GivenFirst,
        given: &["Jürgen", "Anneliese", "Björn", "Käthe", "Sören", "Heike", "Karl-Heinz", "Ulrike"],
        family: &["Müller", "Groß", "Weiß", "von der Heide", "Schröder", "Jäger", "Öztürk", "Leutheusser"],
        second: &["Möller", "Kühn", "Schnarrenberger"],
        joined_by: "-",
    },
    Culture {
        order: Order::FamilyFirstJoined,
        given: &["伟", "秀英", "娜", "建国", "思远", "丽", "浩然", "静"],
        family: &["李", "王", "张", "陈", "欧阳", "司马", "赵"],
        second: &[],
        joined_by: "",
    },
    Culture {
        order: Order::FamilyFirst,
        given: &["さくら", "太郎", "美咲", "健一", "陽菜", "翔"],
        family: &["佐藤", "鈴木", "高橋", "髙田", "渡邊", "長谷川"],
        second: &[],
        joined_by: "",
    },
    Culture {
        order: Order::FamilyFirst,
        given: &["Thị Hương", "Văn Đức", "Minh Anh", "Quốc Bảo", "Ngọc Ánh", "Thanh Tùng"],
        family: &["Nguyễn", "Trần", "Phạm", "Huỳnh", "Đặng", "Vũ"],
        second: &[],
        joined_by: "",
    },
    Culture {
        order: Order::GivenFirst,
        given: &["İpek", "Çağla", "Ömer", "Şebnem", "Yiğit", "Gül"],
        family: &["Yılmaz", "Çelik", "Şahin", "Özdemir", "Aydın", "Koç"],
        second: &[],
        joined_by: "",
    },
    Culture {
        order: Order::GivenFirst,
        given: &["Ελένη", "Γιώργος", "Όλγα", "Νίκος", "Σοφία"],
        family: &["Παπαδοπούλου", "Καζαντζάκης", "Νικολάου", "Οικονόμου"],
        second: &[],
        joined_by: "",
    },
    Culture {
        order: Order::GivenFirst,
        given: &["محمد", "فاطمة", "يوسف", "ليلى", "عمر"],
        family: &["الحسيني", "العربي", "منصور", "القاسم"],
        second: &[],
        joined_by: "",
    },
    Culture {
        order: Order::GivenFirst,
        given: &["Guðrún", "Þór", "Åsa", "Søren", "Zoë", "François", "Anaïs", "Noël", "Ondřej", "Ágnes"],
        family: &["Jónsdóttir", "Ångström", "Kierkegård", "L'Hôpital", "d'Alembert", "Dvořák", "Szőke", "Lefèvre"],
        second: &[],
        joined_by: "",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// `varchar(50)` counts characters, not bytes.
    const NAME_CHARS_MAX: usize = 50;

    #[test]
    fn every_name_fits_its_column_and_one_fills_it() {
        let mut longest = 0;
        for culture in CULTURES {
            for (given, family) in culture.given.iter().flat_map(|g| culture.family.iter().map(move |f| (*g, *f))) {
                for second in std::iter::once(None).chain(culture.second.iter().copied().map(Some)) {
                    let name = Name { culture, given, family, second }.to_string();
                    longest = longest.max(name.chars().count());
                    assert!(name.chars().count() <= NAME_CHARS_MAX, "{name}");
                }
            }
        }
        assert_eq!(longest, NAME_CHARS_MAX, "a name as wide as the column is part of every long history");
    }

    #[test]
    fn a_renamed_person_has_another_name_and_keeps_the_given_one() {
        let mut dice = Dice::new(1);
        for _ in 0..1000 {
            let name = Name::draw(&mut dice);
            let renamed = name.renamed(&mut dice);
            assert_ne!(name.to_string(), renamed.to_string());
            assert_eq!(name.given, renamed.given);
        }
    }
}
