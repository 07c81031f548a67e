//! What the report says of each kind of finding.

use super::*;
use crate::verify::mapping::tests::{decimal, mapping, mapping_with_ends};

#[test]
fn a_report_shows_counts_and_both_rows() {
    let mapping = mapping();
    let mut table = TableReport::new(&mapping);
    table.counts.equal = 1998;
    let source = [Value::Int(7), Value::Int(1), decimal("1.50")];
    let changed = [Value::Int(7), Value::Int(1), decimal("1.51")];
    let key = mapping.target_key(&source);
    table.add(&mapping, DifferenceKind::Different, &key, Some(&source), Some(&changed));
    table.add(&mapping, DifferenceKind::Missing, &key, Some(&source), None);
    let left = [Value::Int(6), Value::Int(1), Value::Null];
    table.add(&mapping, DifferenceKind::Extra, &left[..2], Some(&source), Some(&left));
    for _ in 0..DIFFERENCES_SHOWN_MAX {
        table.add(&mapping, DifferenceKind::Extra, &key, None, Some(&left));
    }
    table.first.truncate(4);
    insta::assert_snapshot!(Report { tables: vec![table] }, @r"
    table           source              equal   different     missing       extra   unsettled
    orders_by_user  public.orders        1998           1           1          11           0

    orders_by_user user_id=7, order_id=1: different
        column    source public.orders  target
        user_id   7                     7
        order_id  1                     1
      * total     1.50                  1.51

    orders_by_user user_id=7, order_id=1: missing
        column    source public.orders  target
        user_id   7                     -
        order_id  1                     -
        total     1.50                  -

    orders_by_user user_id=6, order_id=1: extra
      the source row belongs under user_id=7, order_id=1
        column    source public.orders  target
      * user_id   7                     6
        order_id  1                     1
      * total     1.50                  null

    orders_by_user user_id=7, order_id=1: extra
        column    source public.orders  target
        user_id   -                     6
        order_id  -                     1
        total     -                     null

    orders_by_user: 9 more
    ");
}

#[test]
fn a_report_is_equal_only_when_all_was_seen_to_be() {
    let fresh = TableReport::new(&mapping());
    let equal = |change: fn(&mut TableReport)| {
        let mut table = fresh.clone();
        change(&mut table);
        Report { tables: vec![fresh.clone(), table] }.is_equal()
    };
    assert!(equal(|table| table.counts.equal = 5));
    assert!(!equal(|table| table.counts.different = 1));
    assert!(!equal(|table| table.counts.missing = 1));
    assert!(!equal(|table| table.counts.extra = 1));
    assert!(!equal(|table| table.counts.unsettled = 1));
    assert!(!equal(|table| table.cut_short = true));
}

#[test]
fn values_are_shown_for_a_person() {
    for (value, text) in [
        (Value::Null, "null"),
        (Value::Text("null\n\u{1b}[2J".into()), r#""null\n\u{1b}[2J""#),
        (Value::Date(20_454), "2026-01-01"),
        (Value::Date(i32::MAX), "day 2147483647 from 1970-01-01"),
        (Value::Timestamp(1_767_225_600_123_000), "2026-01-01T00:00:00.123Z"),
        (Value::Timestamp(1_767_225_600_123_456), "2026-01-01T00:00:00.123456Z"),
        (decimal("10.50"), "10.50"),
    ] {
        assert_eq!(shown(Some(&value)), text);
    }
    assert_eq!(shown(None), "-");
    let long = shown(Some(&Value::Text("é".repeat(300).into())));
    assert!(long.ends_with("é\"… and 200 bytes more"), "{long}");
    assert!(shown(Some(&decimal(&"9".repeat(999)))).ends_with("… of 999 characters"));
}

#[test]
fn what_is_not_judged_is_said_behind_the_counts_and_is_no_difference() {
    let mut table = TableReport::new(&mapping_with_ends());
    table.counts = Counts { equal: 5, unknown: 3, ..Counts::default() };
    table.conclude(&mapping_with_ends());
    let report = Report { tables: vec![table] };
    assert!(report.is_equal());
    insta::assert_snapshot!(report.to_string().lines().last().unwrap_or_default(), @"orders_by_user  public.orders           5           0           0           0           0  3 missing rows are not judged: `ttl` counts from a record that is not known");
}

#[test]
fn keys_are_kept_by_their_side_and_no_more_than_asked_for() {
    let mut keys = Keys::default();
    let (target, source) = ([Value::Int(7)], ["7".to_string()]);
    for kind in [DifferenceKind::Extra, DifferenceKind::Different, DifferenceKind::Missing, DifferenceKind::Extra] {
        keys.keep(kind, &target, &source, 2);
    }
    assert_eq!((keys.of_extra.len(), keys.of_source.len()), (2, 2));
    keys.keep(DifferenceKind::Extra, &target, &source, 2);
    keys.keep(DifferenceKind::Missing, &target, &source, 2);
    assert_eq!(keys, Keys { of_extra: vec![target.to_vec(); 2], of_source: vec![source.to_vec(); 2] });
}
