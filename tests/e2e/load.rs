//! A long history of changes made by hand, and the rows *and write times* that it must lead to, computed from rule V1
//! alone. Times repeat and run backwards, rows are deleted and come again, orders change their user, columns are null.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::changes::{change, key, order, user};
use crate::rows::{Row, Rows, debezium_row};
use crate::stack::Scenario;
use crate::topics::Raw;

pub const PARTITIONS: u64 = 5;
const USERS: u64 = 60;
const ORDERS: u64 = 200;
const TIME_FIRST_MS: i64 = 1_760_000_000_000;

/// Where a history stands. It can go on after a part of it was written.
pub struct Load {
    dice: Dice,
    users: BTreeMap<u64, Kept>,
    orders: BTreeMap<u64, Kept>,
    /// The last version of each partition of the two topics.
    last: [[i64; PARTITIONS as usize]; 2],
    time_ms: i64,
    names: u64,
}

/// A row that exists, and the write time of its cells.
struct Kept {
    image: Value,
    writetime: i64,
}

impl Load {
    pub fn new(seed: u64) -> Load {
        eprintln!("load: seed {seed}");
        Load {
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            users: BTreeMap::new(),
            orders: BTreeMap::new(),
            last: Default::default(),
            time_ms: TIME_FIRST_MS,
            names: 0,
        }
    }

    /// Writes the next changes to the scenario's change topics. Some of them are two records.
    pub async fn go_on(&mut self, scenario: &Scenario, changes: usize) {
        let mut records = [Vec::new(), Vec::new()];
        for _ in 0..changes {
            let topic = usize::from(self.dice.below(4) > 0);
            let number = self.dice.below(if topic == 0 { USERS } else { ORDERS });
            self.change(topic, number, &mut records[topic]);
        }
        for (topic, records) in scenario.change_topics().iter().zip(&records) {
            scenario.produce_all(topic, records).await;
        }
    }

    fn change(&mut self, topic: usize, number: u64, records: &mut Vec<Raw>) {
        let before = if topic == 0 { self.users.remove(&number) } else { self.orders.remove(&number) };
        let before = before.map(|kept| kept.image);
        let after = (before.is_none() || self.dice.below(6) > 0).then(|| self.row(topic, number));
        let partition = number % PARTITIONS;
        let (raw, version) = self.stamp(topic, partition, change(before.as_ref(), after.as_ref()));
        records.push(raw);
        match (before, after) {
            (_, Some(image)) => {
                let kept = Kept { image, writetime: version + 1 };
                if topic == 0 {
                    self.users.insert(number, kept)
                } else {
                    self.orders.insert(number, kept)
                };
            }
            (Some(before), None) => {
                let (tombstone, _) = self.stamp(topic, partition, Raw::tombstone(key(&before)));
                records.push(tombstone);
            }
            (None, None) => unreachable!("what is not there is created"),
        }
    }

    fn row(&mut self, topic: usize, number: u64) -> Value {
        self.names += 1;
        if topic == 0 {
            return user(number, &format!("Name {}", self.names));
        }
        let user = self.dice.below(USERS);
        let mut row = order(number, user, &format!("{}.{:02}", self.names, self.dice.below(100)));
        if self.dice.below(5) == 0 {
            row["status"] = Value::Null;
        }
        row["quantity"] = json!(self.dice.below(1000));
        row
    }

    /// Gives a record its timestamp, and computes the version that V1 gives it.
    fn stamp(&mut self, topic: usize, partition: u64, raw: Raw) -> (Raw, i64) {
        // Mostly the same millisecond, sometimes later, sometimes earlier.
        match self.dice.below(10) {
            0 => self.time_ms += 7,
            1 => self.time_ms -= 5,
            _ => {}
        }
        let last = &mut self.last[topic][partition as usize];
        *last = (1000 * self.time_ms).max(*last + 2);
        (raw.to(partition as i32).at(self.time_ms), *last)
    }

    /// The three tables with their write times, as [`Scenario::all_writetimes`] reads them.
    pub fn expected(&self) -> BTreeMap<String, Rows> {
        let table = |kept: &BTreeMap<u64, Kept>, id: &str, keys: &[&str]| -> Rows {
            let mut rows: Rows = kept.values().map(|kept| with_writetimes(kept, id, keys)).collect();
            rows.sort();
            rows
        };
        BTreeMap::from([
            ("users".into(), table(&self.users, "id", &["id"])),
            ("orders".into(), table(&self.orders, "order_id", &["order_id"])),
            ("orders_by_user".into(), table(&self.orders, "order_id", &["user_id", "order_id"])),
        ])
    }
}

fn with_writetimes(kept: &Kept, id: &str, keys: &[&str]) -> Row {
    let mut row = debezium_row(&kept.image);
    let key = row.remove("id");
    row.extend(key.map(|key| (id.to_string(), key)));
    let cells: Vec<(String, bool)> = row.iter().map(|(name, value)| (name.clone(), value.is_some())).collect();
    for (name, is_there) in cells.into_iter().filter(|(name, _)| !keys.contains(&name.as_str())) {
        row.insert(format!("writetime({name})"), is_there.then(|| kept.writetime.to_string()));
    }
    row
}

/// The same numbers for the same seed (xorshift).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }
}
