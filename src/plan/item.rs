//! The rules of `item.create`, `item.update` and `item.delete`.

use serde_json::{Value, json};

use super::ReadSet;
use super::draft::{Claim, Draft, Found};
use crate::batch::{Batch, ItemDelete, ItemUpdate, NewItem, ProblemCode, ReferenceKind, WarningKind};
use crate::model::{Collection, DealerId, GroupId, Item, ItemChanges, ItemId};

/// Items that are changed, and what new and changed items refer to.
pub(super) fn reads(batch: &Batch, reads: &mut ReadSet) {
    for item in &batch.new_items {
        reads.local_ids.extend(item.identity.local_id.clone());
        reads.groups.extend(item.group_id);
        reads.dealers.extend(&item.dealer_ids);
    }
    for update in &batch.item_updates {
        reads.item(&update.item);
        reads.groups.extend(update.changes.group_id.flatten());
        reads.dealers.extend(update.changes.dealer_ids.iter().flatten());
    }
    for delete in &batch.item_deletes {
        reads.item(&delete.item);
    }
}

pub(super) fn apply(batch: &Batch, draft: &mut Draft<'_>) {
    for item in &batch.new_items {
        create(item, draft);
    }
    for item in &batch.item_updates {
        update(item, draft);
    }
    for item in &batch.item_deletes {
        delete(item, draft);
    }
}

fn create(new: &NewItem, draft: &mut Draft<'_>) {
    let path = format!("/item/create/{}", new.identity.index);
    let id = match draft.claim::<ItemId>(&new.identity, Collection::Items, &path, |_| content(new)) {
        Claim::New(id) => {
            warn_of_unknown(new.group_id, &new.dealer_ids, &path, draft);
            draft.insert_item(item(id, new, draft));
            id
        }
        Claim::Applied(id) => {
            draft.synced.items_created.push(id);
            id
        }
        Claim::Refused => return,
    };
    draft.id_map.items.extend(new.identity.names.iter().map(|name| (name.clone(), id)));
    draft.name_item(new.identity.index, id);
}

fn item(id: ItemId, new: &NewItem, draft: &Draft<'_>) -> Item {
    Item {
        id,
        local_id: new.identity.local_id.clone(),
        group_id: new.group_id,
        name: new.name.clone(),
        price: new.price,
        stock: new.stock,
        low_stock_quantity: new.low_stock_quantity,
        unit: new.unit.clone(),
        description: new.description.clone(),
        dealer_ids: new.dealer_ids.clone(),
        is_active: true,
        created_at: draft.now,
        updated_at: draft.now,
    }
}

/// All that the create says.
fn content(new: &NewItem) -> Value {
    json!({
        "name": new.name,
        "price": new.price.to_json(),
        "stock": new.stock.to_json(),
        "unit": new.unit,
        "groupId": new.group_id.map(|id| id.to_string()),
        "description": new.description,
        "lowStockQuantity": new.low_stock_quantity.to_json(),
        "dealerIds": new.dealer_ids.iter().map(DealerId::to_string).collect::<Vec<_>>(),
    })
}

fn update(update: &ItemUpdate, draft: &mut Draft<'_>) {
    let path = format!("/item/update/{}", update.index);
    let item = match draft.item(&update.item) {
        Found::Record(item) => item,
        Found::Refused => return,
        Found::Nothing => {
            let message = format!("Item not found for update: {}", update.item);
            return draft.problem(format!("{path}/_id"), ProblemCode::NotFound, message);
        }
    };
    let changes = update.changes.clone();
    warn_of_unknown(changes.group_id.flatten(), changes.dealer_ids.as_deref().unwrap_or_default(), &path, draft);
    draft.change_item(item.id, changes);
    draft.synced.items_updated.push(item.id);
}

/// Deleting is soft, and deleting twice is fine.
fn delete(delete: &ItemDelete, draft: &mut Draft<'_>) {
    let item = match draft.item(&delete.item) {
        Found::Record(item) => item,
        Found::Refused => return,
        Found::Nothing => {
            let message = format!("Item not found for delete: {}", delete.item);
            return draft.problem(format!("/item/delete/{}", delete.index), ProblemCode::NotFound, message);
        }
    };
    draft.change_item(item.id, ItemChanges { is_active: Some(false), ..ItemChanges::default() });
    draft.synced.items_deleted.push(item.id);
}

/// Groups and dealers are made elsewhere, so an unknown one may just not have arrived yet.
fn warn_of_unknown(group: Option<GroupId>, dealers: &[DealerId], path: &str, draft: &mut Draft<'_>) {
    if let Some(id) = group.filter(|id| !draft.before.groups.contains(id)) {
        draft.warn(format!("{path}/groupId"), unknown(ReferenceKind::Group, id.to_string()));
    }
    for (index, id) in dealers.iter().enumerate().filter(|(_, id)| !draft.before.dealers.contains(id)) {
        draft.warn(format!("{path}/dealerIds/{index}"), unknown(ReferenceKind::Dealer, id.to_string()));
    }
}

/// The warning about a record that other services make and this store does not know.
pub(super) fn unknown(kind: ReferenceKind, id: String) -> WarningKind {
    WarningKind::UnknownReference { kind, id }
}
