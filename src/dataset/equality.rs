//! The fast way shows every record as the plain way does, and nothing that is stored can harm it.

use bson::oid::ObjectId;
use bson::raw::RawDocument;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, doc};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{Malformed, reference, write_record};
use crate::model::Collection;

/// Names that one collection or another has fields for, with such that none has.
const NAMES: [&str; 44] = [
    "_id",
    "clientId",
    "groupId",
    "name",
    "price",
    "stock",
    "lowStockQuantity",
    "unit",
    "description",
    "dealerIds",
    "isActive",
    "productId",
    "createdAt",
    "updatedAt",
    "phoneNumber",
    "address",
    "emailId",
    "gstNo",
    "lastPurchaseAt",
    "clientCustomerId",
    "clientCustomerName",
    "clientCustomerPhone",
    "invoiceNumber",
    "invoiceDate",
    "dueDate",
    "subtotal",
    "totalTax",
    "totalDiscount",
    "totalAmount",
    "paidAmount",
    "notes",
    "isFinalized",
    "products",
    "itemName",
    "costPerUnit",
    "quantity",
    "itemGroup",
    "invoiceId",
    "amount",
    "method",
    "__v",
    "revision",
    "localId",
    "generatedAt",
];

proptest! {
    #[test]
    fn a_record_is_shown_as_the_plain_way_shows_it(collection in collection(), record in record()) {
        assert_same(collection, &bytes(&record))?;
    }

    #[test]
    fn numbers_are_shown_as_the_plain_way_shows_them(numbers in prop::collection::vec(number(), 64)) {
        for number in numbers {
            let record = bytes(&[("amount".into(), number.clone()), ("other".into(), number)]);
            assert_same(Collection::Payments, &record)?;
        }
    }

    #[test]
    fn times_are_shown_as_the_plain_way_shows_them(times in prop::collection::vec(time(), 64)) {
        for at in times {
            assert_same(Collection::Payments, &bytes(&[("paidAt".into(), at)]))?;
        }
    }

    #[test]
    fn damaged_bytes_are_shown_as_the_plain_way_shows_them_or_refused(
        collection in collection(),
        record in record(),
        damages in prop::collection::vec(prop::collection::vec((any::<Index>(), damage()), 1..4), 32),
    ) {
        let whole = bytes(&record);
        for damage in damages {
            let mut bytes = whole.clone();
            damage.iter().for_each(|(at, damage)| damage.strike(at, &mut bytes));
            assert_same(collection, &bytes)?;
        }
    }

    #[test]
    fn any_bytes_do_no_harm(collection in collection(), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        assert_same(collection, &bytes)?;
        assert_same(collection, &framed(bytes))?;
    }
}

#[test]
fn every_prefix_of_a_record_is_refused() {
    let lines = vec![Bson::from(doc! {"itemName": "Soap", "quantity": 2.5})];
    let record = doc! {"_id": ObjectId::from_bytes([1; 12]), "notes": "é\n", "products": lines, "extra": {"a": [1, 2]}};
    let record = record.to_vec().unwrap();
    for length in 0..record.len() {
        let mut out = b"before".to_vec();
        assert!(write_record(Collection::Invoices, &record[..length], &mut out).is_err(), "{length}");
        assert_eq!(out, b"before", "{length}");
    }
}

#[test]
fn nesting_is_read_as_deep_as_it_can_be_stored_and_no_deeper() {
    for open in [0x03, 0x04] {
        assert_same(Collection::Items, &nested(open, 200)).unwrap();
        assert!(write_record(Collection::Items, &nested(open, 200), &mut Vec::new()).is_ok());
        for depth in [201, 1_000_000] {
            let shown = write_record(Collection::Items, &nested(open, depth), &mut Vec::new());
            assert_eq!(shown, Err(Malformed::Depth), "{depth}");
        }
    }
}

/// Wherever the plain way shows something, the fast way shows the same bytes; where it refuses, the
/// fast way either refuses too, or did not look at what is wrong. It leaves nothing behind if it refuses.
fn assert_same(collection: Collection, record: &[u8]) -> Result<(), TestCaseError> {
    let mut shown = b"before".to_vec();
    let outcome = write_record(collection, record, &mut shown);
    if outcome.is_err() {
        prop_assert_eq!(&shown[..], b"before");
    }
    let mut expected = b"before".to_vec();
    let plain =
        RawDocument::from_bytes(record).map(|record| reference::write_record(collection, record, &mut expected));
    if let Ok(Ok(())) = plain {
        prop_assert_eq!(outcome, Ok(()), "{}", String::from_utf8_lossy(&expected));
        prop_assert_eq!(String::from_utf8_lossy(&shown), String::from_utf8_lossy(&expected));
        prop_assert_eq!(shown, expected);
    }
    Ok(())
}

fn collection() -> impl Strategy<Value = Collection> {
    select(&Collection::ALL[..])
}

/// Fields in any order, where a name may stand more than once.
type Fields = Vec<(String, Bson)>;

fn record() -> impl Strategy<Value = Fields> {
    prop::collection::vec((name(), value()), 0..24)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![8 => select(&NAMES[..]).prop_map(str::to_owned), 1 => "[^\0]{0,12}", 1 => "[a-z]{1,40}"]
}

fn value() -> impl Strategy<Value = Bson> {
    let nested = plain_value().prop_recursive(4, 32, 6, |inner| {
        let fields = || prop::collection::vec((name(), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Bson::Array),
            fields().prop_map(|fields| Bson::Document(fields.into_iter().collect())),
            prop::collection::vec(fields(), 0..4).prop_map(|lines| {
                Bson::Array(lines.into_iter().map(|line| Bson::Document(line.into_iter().collect())).collect())
            }),
        ]
    });
    prop_oneof![3 => plain_value(), 1 => nested]
}

fn plain_value() -> impl Strategy<Value = Bson> {
    prop_oneof![
        4 => number(),
        4 => text().prop_map(Bson::String),
        2 => time(),
        2 => any::<[u8; 12]>().prop_map(|id| Bson::ObjectId(ObjectId::from_bytes(id))),
        2 => Just(Bson::Null),
        1 => any::<bool>().prop_map(Bson::Boolean),
        1 => rare(),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,40}",
        "\\PC{0,20}",
        prop::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter),
        prop::collection::vec(0..0x80_u8, 0..20).prop_map(|ascii| ascii.into_iter().map(char::from).collect()),
    ]
}

fn number() -> impl Strategy<Value = Bson> {
    let units = prop_oneof![-2_000_000..2_000_000_i64, -2_000_000_000_000_000..2_000_000_000_000_000_i64];
    let edges = [
        0.0,
        -0.0,
        5e-324,
        f64::MIN_POSITIVE,
        f64::MAX,
        f64::MIN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        1e11,
        1e12,
        99_999_999_999.999_9,
        99_999_999_999.999_95,
        9_007_199_254_740_991.0,
        9_007_199_254_740_992.0,
        0.1 + 0.2,
        1e7,
        1.00005,
        0.00005,
        0.000049999,
        5.684341886080802e-14,
        1e15,
        1e16,
        1e17,
        1e21,
        1e-7,
        9.5367431640625e-7,
        9_223_372_036_854_775_807.0,
    ];
    let signed = edges.into_iter().flat_map(|edge| [edge, -edge]).collect::<Vec<_>>();
    let double = prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        select(signed),
        units.clone().prop_map(|units| units as f64 / 10_000.0),
        // Next to what has 4 places, and on the half between.
        (units.clone(), -3..=3_i64).prop_map(|(units, ulps)| off(units as f64 / 10_000.0, ulps)),
        (units.clone(), -3..=3_i64).prop_map(|(units, ulps)| off(units as f64 / 100_000.0, ulps)),
        (units.clone(), -3..=3_i64).prop_map(|(units, ulps)| off((units as f64 + 0.5) / 10_000.0, ulps)),
        -1e13..1e13_f64,
        -1000.0..1000.0_f64,
    ];
    let decimal = prop_oneof![
        any::<[u8; 16]>().prop_map(Decimal128::from_bytes),
        (any::<bool>(), any::<u64>(), -8..4_i32).prop_map(|(minus, digits, exponent)| decimal(minus, digits, exponent)),
        (any::<bool>(), 0..1_000_000_u64, -8..4_i32)
            .prop_map(|(minus, digits, exponent)| decimal(minus, digits, exponent)),
    ];
    prop_oneof![
        6 => double.prop_map(Bson::Double),
        1 => any::<i32>().prop_map(Bson::Int32),
        1 => any::<i64>().prop_map(Bson::Int64),
        1 => select(vec![i64::MIN, i64::MAX, 100_000_000_000, 99_999_999_999, -100_000_000_000]).prop_map(Bson::Int64),
        2 => decimal.prop_map(Bson::Decimal128),
    ]
}

/// The double that is so many doubles away.
fn off(double: f64, ulps: i64) -> f64 {
    f64::from_bits(double.to_bits().saturating_add_signed(ulps))
}

fn decimal(minus: bool, digits: u64, exponent: i32) -> Decimal128 {
    format!("{}{digits}E{exponent}", if minus { "-" } else { "" }).parse().unwrap()
}

fn time() -> impl Strategy<Value = Bson> {
    const YEAR_0: i64 = -62_167_219_200_000;
    const YEAR_10_000: i64 = 253_402_300_800_000;
    const DAY: i64 = 86_400_000;
    let millis = prop_oneof![
        4 => YEAR_0..YEAR_10_000,
        1 => any::<i64>(),
        1 => (YEAR_0 - DAY)..(YEAR_0 + 500 * DAY),
        1 => (YEAR_10_000 - 500 * DAY)..(YEAR_10_000 + DAY),
        2 => (-719_528..2_932_897_i64, -2..=2_i64).prop_map(|(day, off)| day * DAY + off),
        1 => select(vec![i64::MIN, i64::MAX, 0, -1, YEAR_0, YEAR_0 - 1, YEAR_10_000, YEAR_10_000 - 1]),
    ];
    millis.prop_map(|millis| Bson::DateTime(DateTime::from_millis(millis)))
}

fn rare() -> impl Strategy<Value = Bson> {
    let subtype = any::<u8>().prop_map(BinarySubtype::from);
    let bytes = prop::collection::vec(any::<u8>(), 0..20);
    let id = any::<[u8; 12]>().prop_map(ObjectId::from_bytes);
    let pointer = (text(), id).prop_map(|(namespace, id)| pointer(&namespace, id));
    prop_oneof![
        select(vec![Bson::Undefined, Bson::MinKey, Bson::MaxKey]),
        (subtype, bytes).prop_map(|(subtype, bytes)| Bson::Binary(Binary { subtype, bytes })),
        ("[^\0]{0,12}", "[ilmsux]{0,6}").prop_map(|(pattern, options)| {
            Bson::RegularExpression(Regex {
                pattern: pattern.try_into().unwrap(),
                options: options.try_into().unwrap(),
            })
        }),
        any::<[u32; 2]>().prop_map(|[time, increment]| Bson::Timestamp(bson::Timestamp { time, increment })),
        text().prop_map(Bson::Symbol),
        text().prop_map(Bson::JavaScriptCode),
        (text(), number()).prop_map(|(code, number)| {
            Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code, scope: doc! {"x": number} })
        }),
        pointer,
    ]
}

/// The driver reads pointers, but has no way to make one.
fn pointer(namespace: &str, id: ObjectId) -> Bson {
    let length = i32::try_from(namespace.len() + 1).unwrap().to_le_bytes();
    let element = [&[0x0c, 0], &length[..], namespace.as_bytes(), &[0], &id.bytes()].concat();
    let record = framed(element);
    let value = RawDocument::from_bytes(&record).unwrap().get("").unwrap();
    Bson::try_from(value.unwrap()).unwrap()
}

/// The BSON of a record; a document of the driver's could not hold a name twice.
fn bytes(record: &[(String, Bson)]) -> Vec<u8> {
    let elements = record.iter().flat_map(|(name, value)| {
        let document = Document::from_iter([(name.clone(), value.clone())]).to_vec().unwrap();
        document[4..document.len() - 1].to_vec()
    });
    framed(elements.collect())
}

/// A document of these elements: with a length before and a 0 behind.
fn framed(elements: Vec<u8>) -> Vec<u8> {
    let length = i32::try_from(elements.len() + 5).unwrap();
    [&length.to_le_bytes(), &elements[..], &[0]].concat()
}

/// So many documents or arrays within each other, a record included.
fn nested(open: u8, depth: usize) -> Vec<u8> {
    const AROUND: usize = 4 + 1 + 1 + 1; // the length, the type, the end of an empty name, the end
    let length = |level: usize| i32::try_from((depth - level) * AROUND - 2).unwrap().to_le_bytes();
    let opened = (0..depth - 1).flat_map(|level| [&length(level)[..], &[open, 0]].concat());
    opened.chain(length(depth - 1)).chain(vec![0; depth]).collect()
}

/// What can happen to stored bytes.
#[derive(Debug, Clone)]
enum Damage {
    Set(u8),
    Flip(u8),
    /// Bytes are lost, and the record's own length knows.
    Lose(usize),
    /// Bytes come in, and the record's own length knows.
    Gain(Vec<u8>),
    Cut,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<u8>().prop_map(Damage::Set),
        (0..0x20_u8).prop_map(Damage::Set),
        (0..8_u8).prop_map(Damage::Flip),
        (1..9_usize).prop_map(Damage::Lose),
        prop::collection::vec(any::<u8>(), 1..9).prop_map(Damage::Gain),
        Just(Damage::Cut),
    ]
}

impl Damage {
    fn strike(&self, at: &Index, bytes: &mut Vec<u8>) {
        if bytes.len() < 5 {
            return;
        }
        let at = at.index(bytes.len());
        let within = at.clamp(4, bytes.len() - 1)..bytes.len() - 1;
        match self {
            Self::Set(byte) => bytes[at] = *byte,
            Self::Flip(bit) => bytes[at] ^= 1 << bit,
            Self::Lose(count) => {
                bytes.drain(within.start..within.end.min(within.start + count));
                *bytes = framed(bytes[4..bytes.len() - 1].to_vec());
            }
            Self::Gain(more) => {
                bytes.splice(within.start..within.start, more.iter().copied());
                *bytes = framed(bytes[4..bytes.len() - 1].to_vec());
            }
            Self::Cut => bytes.truncate(at),
        }
    }
}
