//! MongoDB (stub until the real one lands in this tree).
use super::StoreError;
use crate::dataset::Dataset;
use crate::model::ClientId;
pub struct MongoStore;
pub struct MongoOptions {
    pub url: String,
    pub database: String,
    pub receipt_days: u32,
}
impl MongoStore {
    pub async fn connect(_o: MongoOptions) -> Result<Self, StoreError> {
        Err(StoreError::Internal("stub".into()))
    }
}
pub fn check_url(_u: &str) -> Result<(), String> {
    Ok(())
}
#[async_trait::async_trait]
impl super::Store for MongoStore {
    async fn execute(
        &self,
        _: &ClientId,
        _: std::sync::Arc<dyn crate::plan::Planner>,
    ) -> Result<super::Outcome, super::ExecuteError> {
        Err(StoreError::Overloaded.into())
    }
    async fn dataset(&self, _: &ClientId) -> Result<Dataset, StoreError> {
        Err(StoreError::Overloaded)
    }
    async fn ping(&self) -> Result<super::Health, StoreError> {
        Err(StoreError::Overloaded)
    }
}
