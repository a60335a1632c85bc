//! The wire shapes of `item.create`, `item.update` and `item.delete`.

use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use validator::Validate;

use super::invalid::ProblemCode;
use super::names::{Names, Target, reference_text};
use super::reader::{Element, Identity, Reader, Report, resolve};
use super::schema::{Fields, Least, Values};
use super::warning::WarningKind;
use crate::model::{Amount, DealerId, GroupId, Item, ItemChanges, ItemId};

/// A new item.
#[derive(Debug, Clone, PartialEq)]
pub struct NewItem {
    /// Which create it is.
    pub identity: Identity,
    /// 1..200 characters.
    pub name: String,
    /// Never negative.
    pub price: Amount,
    /// Never negative.
    pub stock: Amount,
    /// 1..20 characters.
    pub unit: String,
    /// Its group, which this store may not know.
    pub group_id: Option<GroupId>,
    /// 0..2000 characters.
    pub description: String,
    /// The stock at which the phone warns.
    pub low_stock_quantity: Amount,
    /// Its dealers, whom this store may not know.
    pub dealer_ids: Vec<DealerId>,
}

/// Changes of an item.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemUpdate {
    /// Its index in its list of the request.
    pub index: usize,
    /// Which item.
    pub item: Target<ItemId>,
    /// What changes; `updated_at` is still to be set.
    pub changes: ItemChanges,
}

/// The deletion of an item.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemDelete {
    /// Its index in its list of the request.
    pub index: usize,
    /// Which item.
    pub item: Target<ItemId>,
}

/// The fields that create and update share.
#[derive(Validate)]
struct ItemFields {
    #[validate(length(min = 1, max = 200, message = "of 1 to 200 characters"))]
    name: Option<String>,
    #[validate(range(min = Amount::ZERO, message = ">= 0"))]
    price: Option<Amount>,
    #[validate(range(min = Amount::ZERO, message = ">= 0"))]
    stock: Option<Amount>,
    #[validate(length(min = 1, max = 20, message = "of 1 to 20 characters"))]
    unit: Option<String>,
    group_id: Option<GroupId>,
    #[validate(length(max = 2000, message = "of at most 2000 characters"))]
    description: Option<String>,
    #[validate(range(min = Amount::ZERO, message = ">= 0"))]
    low_stock_quantity: Option<Amount>,
    #[validate(length(max = 1000, message = "of at most 1000 ids"))]
    dealer_ids: Option<Vec<DealerId>>,
}

/// The shape of `item.create` on the wire.
impl PartialSchema for NewItem {
    fn schema() -> RefOr<Schema> {
        Fields::of("A new item.")
            .optional("_id", Values::alias())
            .optional("localId", Values::local_id())
            .required("name", Values::text(1..=200, "As the shop calls it."))
            .required("price", Values::amount(Least::Zero, "Per unit."))
            .optional("stock", Values::amount(Least::Zero, "What is there, in units. Absent: 0."))
            .optional("unit", Values::text(1..=20, "What the stock counts. Absent: `nos`."))
            .optional("groupId", Values::id("Its group. One that is not known is kept, with a warning."))
            .optional("description", Values::text(0..=2000, "Absent: empty."))
            .optional("lowStockQuantity", Values::amount(Least::Zero, "The stock at which the phone warns. Absent: 5."))
            .optional("dealerIds", Values::ids("Whom the shop buys it from. Absent: nobody."))
            .schema()
    }
}

impl ToSchema for NewItem {}

/// The shape of `item.update` on the wire.
impl PartialSchema for ItemUpdate {
    fn schema() -> RefOr<Schema> {
        Fields::of("Changes of an item. Only what is given changes.")
            .required(
                "_id",
                Values::given_reference("The item: an alias or `localId` of this batch, or a stored `localId` or id."),
            )
            .optional("name", Values::text(1..=200, "As the shop calls it."))
            .optional("price", Values::amount(Least::Zero, "Per unit."))
            .optional("stock", Values::amount(Least::Zero, "What is there now. It is set, not added."))
            .optional("unit", Values::text(1..=20, "What the stock counts."))
            .optional("groupId", Values::id("Its group. Null takes the item out of its group; absent leaves it there."))
            .optional("description", Values::text(0..=2000, "Any text."))
            .optional("lowStockQuantity", Values::amount(Least::Zero, "The stock at which the phone warns."))
            .optional("dealerIds", Values::ids("The whole new list."))
            .optional("isActive", Values::flag("True brings a deleted item back."))
            .schema()
    }
}

impl ToSchema for ItemUpdate {}

impl ItemFields {
    fn read(reader: &mut Reader<'_>, report: &mut Report) -> Self {
        Self {
            name: reader.text("name", report),
            price: reader.amount("price", report),
            stock: reader.amount("stock", report),
            unit: reader.text("unit", report),
            group_id: reader.id("groupId", report),
            description: reader.text("description", report),
            low_stock_quantity: reader.amount("lowStockQuantity", report),
            dealer_ids: reader.ids("dealerIds", report),
        }
    }
}

/// Fields of a normalised item that a phone may echo back.
const ECHOED: [&str; 7] = ["productId", "clientId", "localId", "isActive", "createdAt", "updatedAt", "__v"];

/// Reads an element of `item.create`.
pub(super) fn read_create(element: Element<'_>, items: &Names, report: &mut Report) -> Option<NewItem> {
    let (index, mut reader) = element.open(report)?;
    let found = report.found();
    let identity = reader.identity(index, items, report);
    let mut fields = ItemFields::read(&mut reader, report);
    let blank = fields.name.as_ref().is_some_and(String::is_empty);
    if blank {
        fields.name = None;
    }
    for (field, missing) in
        [("name", blank || reader.value("name").is_none()), ("price", reader.value("price").is_none())]
    {
        if missing {
            report.missing(reader.place(), field, "is missing name/price");
        }
    }
    report.bounds(reader.place(), &fields);
    // A new item is active. A phone that echoes that hears nothing, one that says otherwise does.
    let says_otherwise = reader.value("isActive").is_some_and(|active| *active != Value::Bool(true));
    if says_otherwise {
        report.warnings.push(reader.place().member("isActive"), WarningKind::UnknownField { field: "isActive".into() });
    }
    reader.warn_of_unknown(&ECHOED, report);
    (report.found() == found).then_some(())?;
    Some(NewItem {
        identity,
        name: fields.name?,
        price: fields.price?,
        stock: fields.stock.unwrap_or_default(),
        unit: fields.unit.unwrap_or_else(|| Item::DEFAULT_UNIT.into()),
        group_id: fields.group_id,
        description: fields.description.unwrap_or_default(),
        low_stock_quantity: fields.low_stock_quantity.unwrap_or(Item::DEFAULT_LOW_STOCK),
        dealer_ids: fields.dealer_ids.unwrap_or_default(),
    })
}

/// Reads an element of `item.update`.
pub(super) fn read_update(element: Element<'_>, items: &Names, report: &mut Report) -> Option<ItemUpdate> {
    let (index, mut reader) = element.open(report)?;
    let found = report.found();
    let item = reader.reference("_id", items, report);
    if item.is_none() && report.found() == found {
        report.missing(reader.place(), "_id", "is missing _id");
    }
    let fields = ItemFields::read(&mut reader, report);
    let is_active = reader.flag("isActive", report);
    report.bounds(reader.place(), &fields);
    let group_id = if reader.is_null("groupId") { Some(None) } else { fields.group_id.map(Some) };
    reader.warn_of_unknown(&ECHOED, report);
    let ItemFields { name, price, stock, unit, group_id: _, description, low_stock_quantity, dealer_ids } = fields;
    let changes = ItemChanges {
        group_id,
        name,
        price,
        stock,
        low_stock_quantity,
        unit,
        description,
        dealer_ids,
        is_active,
        updated_at: None,
    };
    (report.found() == found).then_some(())?;
    Some(ItemUpdate { index, item: item?, changes })
}

/// Reads an element of `item.delete`.
pub(super) fn read_delete(element: Element<'_>, items: &Names, report: &mut Report) -> Option<ItemDelete> {
    let Element { index, value, place } = element;
    let item = match reference_text(value) {
        Some(text) if !text.is_empty() => resolve(text, items, &place, None, report)?,
        Some(_) => {
            report.problem(place.path(), ProblemCode::Missing, format!("{} is missing an id", place.subject()));
            return None;
        }
        None => {
            let message = format!("{} must be an id: a string or a whole number", place.subject());
            report.problem(place.path(), ProblemCode::WrongType, message);
            return None;
        }
    };
    Some(ItemDelete { index, item })
}
