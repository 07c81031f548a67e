//! Makes up a history: who signs up, who orders, what changes, who leaves. The seed decides all of it.
//!
//! The two kinds of events travel through different topics and may be applied in any order between them, so a
//! history keeps three promises that make its end independent of that order (`interleaving_tests.rs` proves it):
//! 1. An order names only users that were created before it was, or before it moved to them.
//! 2. Nothing happens to an order after its user was deleted: no event of it is later than the user's DELETE.
//! 3. A user that an order has left is never deleted. Otherwise the order would end deleted or not, depending on
//!    whether the DELETE or the move is applied first.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

use super::dice::Dice;
use super::event::{CalendarDate, Cents, Event, EventType, OrderEvent, OrderStatus, Timestamp, UserEvent};
use super::people::{self, Name};

/// What a history is made from. The same spec gives the same events, byte for byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistorySpec {
    pub seed: u64,
    /// How many users are created. Half as many updates and half as many deletes of users come with them.
    pub users: u64,
    /// How many orders are created, with updates and deletes likewise.
    pub orders: u64,
    /// Go on for ever, in the proportions given by `users` and `orders`.
    pub endless: bool,
}

/// A history, event by event in the order in which it happened. Every event is later than the one before.
pub struct History {
    dice: Dice,
    now: Timestamp,
    /// How many of each step are still to come; in an endless history the proportions, which stay.
    remaining: [u64; STEPS.len()],
    endless: bool,
    users: Vec<LiveUser>,
    /// The ids in `users`: an order whose user is not here gets no further events.
    live_users: HashSet<Uuid>,
    orders: Vec<LiveOrder>,
}

/// Users and orders that can still change. Beyond these one is forgotten for each that is new: it keeps its last
/// state and gets no further events, so that an endless history needs no more memory than this.
pub const LIVE_USERS_MAX: usize = 50_000;
pub const LIVE_ORDERS_MAX: usize = 100_000;

/// 2025-01-01T00:00:00Z, and the end of what RFC 3339 can write: an endless history ends there, after 5,000 years.
const TIME_FIRST: Timestamp = Timestamp(1_735_689_600_000);
const TIME_MAX: Timestamp = Timestamp(253_402_300_799_000);

/// One user in five stays for good: only their orders may move to someone else (promise 3).
const STAYING_PERCENT: u64 = 20;

/// How often to look for someone who may be deleted before something else happens instead.
const TRIES: usize = 16;

struct LiveUser {
    id: Uuid,
    name: Name,
    stays: bool,
}

struct LiveOrder {
    id: Uuid,
    status: OrderStatus,
    user_id: Uuid,
    user_stays: bool,
    quantity: u32,
    unit_price: Cents,
    total: Cents,
}

#[derive(Clone, Copy)]
enum Step {
    CreateUser,
    UpdateUser,
    DeleteUser,
    CreateOrder,
    UpdateOrder,
    DeleteOrder,
}

const STEPS: [Step; 6] =
    [Step::CreateUser, Step::UpdateUser, Step::DeleteUser, Step::CreateOrder, Step::UpdateOrder, Step::DeleteOrder];

impl HistorySpec {
    pub fn history(&self) -> History {
        let half = |count: u64| count.div_ceil(2);
        let (users, orders) = (self.users, self.orders);
        History {
            dice: Dice::new(self.seed),
            now: TIME_FIRST,
            remaining: [users, half(users), half(users), orders, half(orders), half(orders)],
            endless: self.endless,
            users: Vec::new(),
            live_users: HashSet::new(),
            orders: Vec::new(),
        }
    }
}

impl Iterator for History {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while self.now < TIME_MAX {
            let wanted = self.draw_step()?;
            // What cannot happen yet waits for a creation, which is what happens in its place.
            for step in [wanted, Step::CreateUser, Step::CreateOrder] {
                if self.remaining[step as usize] > 0
                    && let Some(event) = self.make(step)
                {
                    if !self.endless {
                        self.remaining[step as usize] -= 1;
                    }
                    return Some(event);
                }
            }
            // No creation is left that could make it possible: it never happens.
            self.remaining[wanted as usize] -= 1;
        }
        None
    }
}

impl History {
    /// The same events with every user's CREATE up to `events` places earlier. An order that names the user need
    /// then not be held back until the CREATE is acknowledged, for it was sent long ago. The events of each entity
    /// keep their order, so this is one more interleaving, and leads to the same end.
    pub fn with_users_early(self, events: usize) -> UsersEarly {
        UsersEarly { history: self, behind: VecDeque::new(), events }
    }

    /// Draws the next step in proportion to what is still to come; `None` when that is nothing.
    fn draw_step(&mut self) -> Option<Step> {
        let mut drawn = self.dice.below(self.remaining.iter().sum());
        for (step, count) in STEPS.into_iter().zip(self.remaining) {
            if drawn < count {
                return Some(step);
            }
            drawn -= count;
        }
        None
    }

    /// The step's event, or `None` when there is nobody it could happen to.
    fn make(&mut self, step: Step) -> Option<Event> {
        match step {
            Step::CreateUser => Some(Event::User(self.create_user())),
            Step::UpdateUser => self.update_user().map(Event::User),
            Step::DeleteUser => self.delete_user().map(Event::User),
            Step::CreateOrder => self.create_order().map(Event::Order),
            Step::UpdateOrder => self.update_order().map(Event::Order),
            Step::DeleteOrder => self.delete_order().map(Event::Order),
        }
    }

    fn create_user(&mut self) -> UserEvent {
        let user = LiveUser {
            id: self.dice.uuid(),
            name: Name::draw(&mut self.dice),
            stays: self.dice.percent(STAYING_PERCENT),
        };
        let dob = people::birthday(&mut self.dice);
        let at = self.tick();
        let event = UserEvent {
            name: Some(user.name.to_string()),
            dob: Some(CalendarDate(dob)),
            created_at: Some(at),
            ..UserEvent::bare(EventType::Create, user.id, at)
        };
        if self.users.len() >= LIVE_USERS_MAX {
            let forgotten = self.dice.index(self.users.len());
            self.remove_user(forgotten);
        }
        self.live_users.insert(user.id);
        self.users.push(user);
        event
    }

    /// A new family name mostly, else a corrected date of birth, sometimes both.
    fn update_user(&mut self) -> Option<UserEvent> {
        let user = (!self.users.is_empty()).then(|| self.dice.index(self.users.len()))?;
        let drawn = self.dice.below(100);
        let (rename, correct) = (drawn < 70, drawn >= 60);
        let user = &mut self.users[user];
        if rename {
            user.name = user.name.renamed(&mut self.dice);
        }
        let (id, name) = (user.id, rename.then(|| user.name.to_string()));
        let dob = correct.then(|| CalendarDate(people::birthday(&mut self.dice)));
        Some(UserEvent { name, dob, ..UserEvent::bare(EventType::Update, id, self.tick()) })
    }

    /// The last user is never deleted, or the orders still to come could belong to nobody.
    fn delete_user(&mut self) -> Option<UserEvent> {
        if self.users.len() < 2 {
            return None;
        }
        let leaving = (0..TRIES).map(|_| self.dice.index(self.users.len())).find(|drawn| !self.users[*drawn].stays)?;
        let user = self.remove_user(leaving);
        Some(UserEvent::bare(EventType::Delete, user.id, self.tick()))
    }

    fn create_order(&mut self) -> Option<OrderEvent> {
        let user = (!self.users.is_empty()).then(|| self.dice.index(self.users.len()))?;
        let (user_id, user_stays) = (self.users[user].id, self.users[user].stays);
        let (quantity, unit_price) = (quantity(&mut self.dice), unit_price(&mut self.dice));
        let total = unit_price.times(quantity);
        let id = self.dice.uuid();
        let at = self.tick();
        let order = LiveOrder { id, status: OrderStatus::Placed, user_id, user_stays, quantity, unit_price, total };
        let event = OrderEvent {
            user_id: Some(user_id),
            quantity: Some(quantity),
            order_total: Some(total),
            placed_at: Some(at),
            ..OrderEvent::bare(EventType::Create, &order, at)
        };
        if self.orders.len() >= LIVE_ORDERS_MAX {
            let forgotten = self.dice.index(self.orders.len());
            self.orders.swap_remove(forgotten);
        }
        self.orders.push(order);
        Some(event)
    }

    /// The order moves on to its next status, or to another user, or its content changes.
    fn update_order(&mut self) -> Option<OrderEvent> {
        let at = self.draw_order()?;
        let (order, dice) = (&mut self.orders[at], &mut self.dice);
        let (mut user_id, mut changed_quantity, mut changed_total) = (None, None, None);
        let other = &self.users[dice.index(self.users.len())];
        if order.user_stays && other.id != order.user_id && dice.percent(40) {
            (order.user_id, order.user_stays) = (other.id, other.stays);
            user_id = Some(other.id);
        } else if order.status == OrderStatus::Placed && dice.percent(20) {
            order.quantity += 1;
            order.total = order.unit_price.times(order.quantity);
            (changed_quantity, changed_total) = (Some(order.quantity), Some(order.total));
        } else if order.status.is_final() {
            // Something was sent back, or a goodwill discount.
            order.total = Cents(order.total.0 * dice.between(50, 95) / 100);
            changed_total = Some(order.total);
        } else {
            order.status = next_status(order.status, dice);
        }
        let now = self.tick();
        Some(OrderEvent {
            user_id,
            quantity: changed_quantity,
            order_total: changed_total,
            ..OrderEvent::bare(EventType::Update, &self.orders[at], now)
        })
    }

    /// Orders that are done with go first, mostly.
    fn delete_order(&mut self) -> Option<OrderEvent> {
        let mut at = self.draw_order()?;
        if !self.orders[at].status.is_final() {
            at = self.draw_order()?;
        }
        let order = self.orders.swap_remove(at);
        Some(OrderEvent::bare(EventType::Delete, &order, self.tick()))
    }

    /// An order whose user is still there. Those whose user was deleted are dropped as they are met (promise 2).
    fn draw_order(&mut self) -> Option<usize> {
        while !self.orders.is_empty() {
            let drawn = self.dice.index(self.orders.len());
            if self.live_users.contains(&self.orders[drawn].user_id) {
                return Some(drawn);
            }
            self.orders.swap_remove(drawn);
        }
        None
    }

    /// The user gets no further events, nor do their orders.
    fn remove_user(&mut self, at: usize) -> LiveUser {
        let user = self.users.swap_remove(at);
        self.live_users.remove(&user.id);
        user
    }

    /// Up to ten seconds later: no two events share a time, so "later" is never in doubt.
    fn tick(&mut self) -> Timestamp {
        self.now.0 += self.dice.between(1, 9_999) as i64;
        self.now
    }
}

/// See [`History::with_users_early`].
pub struct UsersEarly {
    history: History,
    behind: VecDeque<Event>,
    events: usize,
}

impl Iterator for UsersEarly {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while self.behind.len() <= self.events {
            match self.history.next() {
                Some(event @ Event::User(UserEvent { event_type: EventType::Create, .. })) => return Some(event),
                Some(event) => self.behind.push_back(event),
                None => break,
            }
        }
        self.behind.pop_front()
    }
}

impl UserEvent {
    fn bare(event_type: EventType, user_id: Uuid, modified_at: Timestamp) -> Self {
        UserEvent { event_type, user_id, name: None, dob: None, created_at: None, modified_at }
    }
}

impl OrderEvent {
    fn bare(event_type: EventType, order: &LiveOrder, modified_at: Timestamp) -> Self {
        OrderEvent {
            event_type,
            order_id: order.id,
            order_status: order.status,
            user_id: None,
            quantity: None,
            order_total: None,
            placed_at: None,
            modified_at,
        }
    }
}

impl Cents {
    fn times(self, quantity: u32) -> Cents {
        Cents(self.0 * u64::from(quantity))
    }
}

/// PLACED → SHIPPED → DELIVERED, or CANCELLED on the way; what is final stays.
fn next_status(status: OrderStatus, dice: &mut Dice) -> OrderStatus {
    match status {
        OrderStatus::Placed if dice.percent(15) => OrderStatus::Cancelled,
        OrderStatus::Placed => OrderStatus::Shipped,
        OrderStatus::Shipped if dice.percent(5) => OrderStatus::Cancelled,
        OrderStatus::Shipped => OrderStatus::Delivered,
        OrderStatus::Delivered | OrderStatus::Cancelled => status,
    }
}

fn quantity(dice: &mut Dice) -> u32 {
    dice.pick(&[1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 6, 12])
}

/// From a pack of gum to a good coat, with the endings that shops like.
fn unit_price(dice: &mut Dice) -> Cents {
    let whole = dice.pick(&[1, 3, 7, 9, 12, 15, 19, 24, 29, 35, 49, 64, 79, 99, 129, 189, 249]);
    Cents(whole * 100 + dice.pick(&[0, 49, 50, 90, 95, 99]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const DEMO: HistorySpec = HistorySpec { seed: 1, users: 2000, orders: 5000, endless: false };

    /// FNV-1a over the bytes of all events.
    fn digest(spec: HistorySpec) -> u64 {
        let bytes = spec.history().flat_map(|event| event.to_json());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        assert_eq!(digest(DEMO), 5_967_516_003_087_671_910, "the demo's history has changed: is that meant?");
        assert_ne!(digest(DEMO), digest(HistorySpec { seed: 2, ..DEMO }));
    }

    #[test]
    fn the_mix_is_half_creates_and_a_quarter_each_of_updates_and_deletes() {
        for seed in 0..5 {
            let mut counts = BTreeMap::new();
            for event in (HistorySpec { seed, ..DEMO }).history() {
                *counts.entry((matches!(event, Event::Order(_)), event.event_type())).or_insert(0) += 1;
            }
            let counts: Vec<u64> = counts.into_values().collect();
            assert_eq!(counts, [2000, 1000, 1000, 5000, 2500, 2500]);
        }
    }

    #[test]
    fn an_endless_history_keeps_its_mix_and_its_bounds() {
        let mut history = HistorySpec { endless: true, ..DEMO }.history();
        let mut counts = [0_u32; 3];
        for event in history.by_ref().take(500_000) {
            counts[event.event_type() as usize] += 1;
        }
        assert!((245_000..255_000).contains(&counts[0]), "{counts:?}");
        assert!((120_000..130_000).contains(&counts[1]), "{counts:?}");
        assert!((120_000..130_000).contains(&counts[2]), "{counts:?}");
        assert!(history.users.len() <= LIVE_USERS_MAX && history.live_users.len() == history.users.len());
        assert!(history.orders.len() <= LIVE_ORDERS_MAX);
    }

    /// More live entities than the caps, so that forgetting is reached.
    #[test]
    fn what_is_forgotten_gets_no_further_events() {
        let mut history = HistorySpec { seed: 9, users: 300_000, orders: 1000, endless: false }.history();
        let mut live = HashSet::new();
        for event in history.by_ref() {
            match (&event, event.event_type()) {
                (_, EventType::Create) => assert!(live.insert(event.id())),
                (_, EventType::Update) => assert!(live.contains(&event.id())),
                (_, EventType::Delete) => assert!(live.remove(&event.id())),
            }
        }
        assert_eq!(history.users.len(), LIVE_USERS_MAX);
    }

    #[test]
    fn orders_walk_from_placed_to_delivered_or_cancelled() {
        let mut last: BTreeMap<Uuid, OrderStatus> = BTreeMap::new();
        for event in DEMO.history() {
            let Event::Order(event) = event else { continue };
            let before = last.insert(event.order_id, event.order_status);
            use OrderStatus::{Cancelled, Delivered, Placed, Shipped};
            let allowed = match (before, event.order_status) {
                (None, status) => status == Placed && event.event_type == EventType::Create,
                (Some(before), status) if before == status => true,
                (Some(Placed), Shipped | Cancelled) | (Some(Shipped), Delivered | Cancelled) => true,
                (Some(_), _) => false,
            };
            assert!(allowed, "{before:?} → {:?}", event.order_status);
        }
    }

    #[test]
    fn any_counts_come_to_an_end() {
        for (users, orders) in [(0, 0), (0, 9), (1, 0), (1, 1), (2, 1), (1, 500), (500, 1)] {
            let events = HistorySpec { seed: 4, users, orders, endless: false }.history().count() as u64;
            assert!(events <= 2 * (users + orders) + 2, "{users} users, {orders} orders: {events} events");
            assert!(users == 0 || events >= users + orders);
        }
        assert_eq!(HistorySpec { seed: 4, users: 0, orders: 1, endless: true }.history().count(), 0);
    }
}
