//! The rules of `item.create`, `item.update` and `item.delete`.

use super::ReadSet;
use super::draft::Draft;
use crate::batch::{Batch, ItemUpdate, NewItem, ProblemCode, Target, WarningKind};
use crate::model::{DealerId, GroupId, Item, ItemChanges, ItemId};

/// Items that are changed, and what new and changed items refer to.
pub(super) fn reads(batch: &Batch, reads: &mut ReadSet) {
    for item in &batch.new_items {
        reads.groups.extend(item.group_id);
        reads.dealers.extend(&item.dealer_ids);
    }
    for update in &batch.item_updates {
        read_item(&update.item, reads);
        reads.groups.extend(update.changes.group_id.flatten());
        reads.dealers.extend(update.changes.dealer_ids.iter().flatten());
    }
    for item in &batch.item_deletes {
        read_item(item, reads);
    }
}

/// Adds an item that must be stored already.
pub(super) fn read_item(item: &Target<ItemId>, reads: &mut ReadSet) {
    if let Target::Stored(id) = item {
        reads.items.insert(*id);
    }
}

pub(super) fn apply(batch: &Batch, draft: &mut Draft<'_>) {
    for (index, item) in batch.new_items.iter().enumerate() {
        create(item, &format!("/item/create/{index}"), draft);
    }
    for (index, change) in batch.item_updates.iter().enumerate() {
        update(change, &format!("/item/update/{index}"), draft);
    }
    for (index, item) in batch.item_deletes.iter().enumerate() {
        delete(item, format!("/item/delete/{index}"), draft);
    }
}

fn create(new: &NewItem, path: &str, draft: &mut Draft<'_>) {
    warn_of_unknown(new.group_id, &new.dealer_ids, path, draft);
    let item = Item {
        id: draft.new_id(),
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
    };
    draft.id_map.items.extend(new.alias.clone().map(|alias| (alias, item.id)));
    draft.insert_item(item);
}

fn update(update: &ItemUpdate, path: &str, draft: &mut Draft<'_>) {
    let Some(item) = draft.item(&update.item) else {
        let message = format!("Item not found for update: {}", update.item);
        return draft.problem(format!("{path}/_id"), ProblemCode::NotFound, message);
    };
    let changes = update.changes.clone();
    warn_of_unknown(changes.group_id.flatten(), changes.dealer_ids.as_deref().unwrap_or_default(), path, draft);
    draft.change_item(item.id, changes);
    draft.synced.items_updated.push(item.id);
}

/// Deleting is soft, and deleting twice is fine.
fn delete(target: &Target<ItemId>, path: String, draft: &mut Draft<'_>) {
    let Some(item) = draft.item(target) else {
        return draft.problem(path, ProblemCode::NotFound, format!("Item not found for delete: {target}"));
    };
    draft.change_item(item.id, ItemChanges { is_active: Some(false), ..ItemChanges::default() });
    draft.synced.items_deleted.push(item.id);
}

/// Groups and dealers are made elsewhere, so an unknown one may just not have arrived yet.
fn warn_of_unknown(group: Option<GroupId>, dealers: &[DealerId], path: &str, draft: &mut Draft<'_>) {
    if let Some(id) = group.filter(|id| !draft.before.groups.contains(id)) {
        draft.warn(format!("{path}/groupId"), unknown("group", id.to_string()));
    }
    for (index, id) in dealers.iter().enumerate().filter(|(_, id)| !draft.before.dealers.contains(id)) {
        draft.warn(format!("{path}/dealerIds/{index}"), unknown("dealer", id.to_string()));
    }
}

/// The warning about a record that other services make and this store does not know.
pub(super) fn unknown(kind: &str, id: String) -> WarningKind {
    WarningKind::UnknownReference { kind: kind.to_owned(), id }
}
