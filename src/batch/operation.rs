//! The operations of a request by their places, and which records each of them names. Well-formed or not:
//! a malformed operation still belongs to the records that it names.

use bson::oid::ObjectId;
use serde_json::Value;

use super::names::{Names, Target, reference_text};
use crate::model::{InvoiceId, ItemId, LocalId};

/// The lists of a request, in the order in which they are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OperationList {
    /// `item.create`.
    ItemCreate,
    /// `item.update`.
    ItemUpdate,
    /// `item.delete`.
    ItemDelete,
    /// `invoice.create`.
    InvoiceCreate,
    /// `payment.create`.
    PaymentCreate,
}

/// One operation, as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The list it stands in.
    pub list: OperationList,
    /// Its index there.
    pub index: usize,
    /// What it calls the record that it makes for ever.
    pub local_id: Option<LocalId>,
    /// The items that it names.
    pub items: Vec<Target<ItemId>>,
    /// The invoice that it names.
    pub invoice: Option<Target<InvoiceId>>,
}

impl OperationList {
    /// All lists, in the order in which they are applied.
    pub const ALL: [Self; 5] =
        [Self::ItemCreate, Self::ItemUpdate, Self::ItemDelete, Self::InvoiceCreate, Self::PaymentCreate];

    /// JSON pointer (RFC 6901) to the list in the request body.
    pub fn path(self) -> &'static str {
        match self {
            Self::ItemCreate => "/item/create",
            Self::ItemUpdate => "/item/update",
            Self::ItemDelete => "/item/delete",
            Self::InvoiceCreate => "/invoice/create",
            Self::PaymentCreate => "/payment/create",
        }
    }

    /// Its elements; none if the body has no such list.
    pub(super) fn of(self, body: &Value) -> &[Value] {
        body.pointer(self.path()).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

impl Operation {
    /// JSON pointer (RFC 6901) to the operation in the request body.
    pub fn path(&self) -> String {
        format!("{}/{}", self.list.path(), self.index)
    }
}

/// All operations of a body, in the order in which they are applied.
pub(super) fn all(body: &Value) -> Vec<Operation> {
    let items = Names::of(OperationList::ItemCreate.of(body));
    let invoices = Names::of(OperationList::InvoiceCreate.of(body));
    let read = |list: OperationList, index, value: &Value| {
        let field = |name| value.get(name);
        let lines = field("products").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let named: Vec<Option<&Value>> = match list {
            OperationList::ItemCreate | OperationList::PaymentCreate => Vec::new(),
            OperationList::ItemUpdate => vec![field("_id")],
            OperationList::ItemDelete => vec![Some(value)],
            OperationList::InvoiceCreate => lines.iter().map(|line| line.get("productId")).collect(),
        };
        let invoice = field("invoiceId").filter(|_| list == OperationList::PaymentCreate);
        Operation {
            list,
            index,
            local_id: local_id(list, value),
            items: named.into_iter().filter_map(|reference| target(reference?, &items)).collect(),
            invoice: invoice.and_then(|reference| target(reference, &invoices)),
        }
    };
    let list = |list: OperationList| list.of(body).iter().enumerate().map(move |(index, value)| (list, index, value));
    OperationList::ALL.into_iter().flat_map(list).map(|(list, index, value)| read(list, index, value)).collect()
}

fn local_id(list: OperationList, create: &Value) -> Option<LocalId> {
    match list {
        OperationList::ItemCreate | OperationList::InvoiceCreate | OperationList::PaymentCreate => {
            LocalId::new(create.get("localId")?.as_str()?.trim())
        }
        OperationList::ItemUpdate | OperationList::ItemDelete => None,
    }
}

fn target<Id: From<ObjectId>>(reference: &Value, names: &Names) -> Option<Target<Id>> {
    names.resolve(&reference_text(reference).filter(|text| !text.is_empty())?)
}
