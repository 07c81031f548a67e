//! Connections to one database: a bounded number, kept while they are healthy.
//!
//! Not sqlx's pool, which answers "timed out" for a refused password as for a server that is away, tries again by
//! itself, and keeps a connection whose user was dropped half-way. Here a lease that is not given back is closed,
//! and the server rolls back what was open: dropping a write at any await is harmless.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::sink::Load;
use crate::sink::postgres::errors::Fault;
use crate::sink::postgres::{Settings, url};

pub struct Connections {
    options: PgConnectOptions,
    connect_timeout: Duration,
    pool_max: usize,
    permits: Semaphore,
    /// Connections with no transaction open. Never more than there are permits.
    idle: Mutex<Vec<PgConnection>>,
}

/// A connection in use. Dropped, it is closed; given back, it serves again.
pub struct Lease<'a> {
    /// Taken out only by `give_back`.
    connection: Option<PgConnection>,
    home: &'a Connections,
    _permit: SemaphorePermit<'a>,
}

impl Connections {
    /// Reads the url; does not connect.
    pub fn new(settings: &Settings) -> Result<Connections, Fault> {
        let millis = |duration: Duration| duration.as_millis().to_string();
        let options = url::read(&settings.url)
            .map_err(Fault::stop)?
            .options
            .application_name("rowferry")
            .disable_statement_logging()
            .options([
                ("lock_timeout", millis(settings.lock_timeout)),
                ("statement_timeout", millis(settings.answer_timeout)),
                // A process that hangs with its transaction open would hold up the partition's next owner.
                ("idle_in_transaction_session_timeout", millis(settings.answer_timeout)),
                // Tables grow from empty to large under the same prepared statements, and a plan made for the
                // empty one reads the whole table for each batch until the next ANALYZE.
                ("plan_cache_mode", "force_custom_plan".to_string()),
            ]);
        Ok(Connections {
            options,
            connect_timeout: settings.connect_timeout,
            pool_max: settings.pool_max.max(1),
            permits: Semaphore::new(settings.pool_max.max(1)),
            idle: Mutex::new(Vec::new()),
        })
    }

    /// A connection, new or used before, as soon as fewer than `pool_max` are in use.
    pub async fn lease(&self) -> Result<Lease<'_>, Fault> {
        let permit = self.permits.acquire().await.map_err(|_| Fault::from(sqlx::Error::PoolClosed))?;
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(Lease { connection: Some(connection), home: self, _permit: permit })
    }

    /// Connections in use; each has one request under way at most.
    pub fn load(&self) -> Load {
        let in_flight = self.pool_max.saturating_sub(self.permits.available_permits());
        Load { in_flight, in_flight_max: self.pool_max }
    }

    /// A new connection in the place of a broken one.
    pub async fn replace<'a>(&'a self, broken: &mut Lease<'a>) -> Result<(), Fault> {
        self.forget_idle();
        broken.connection = Some(self.connect().await?);
        Ok(())
    }

    /// Closes what is idle: after one connection broke, the others mostly are broken too.
    pub fn forget_idle(&self) {
        self.idle().clear();
    }

    async fn connect(&self) -> Result<PgConnection, Fault> {
        let connected = match timeout(self.connect_timeout, PgConnection::connect_with(&self.options)).await {
            Ok(connected) => connected.map_err(Fault::from),
            Err(_) => Err(Fault::lost("Postgres cannot be reached: it did not answer in time")),
        };
        connected.map_err(|fault| self.addressed(fault))
    }

    /// Says which server, which database and which user: of the url only the password is a secret.
    fn addressed(&self, fault: Fault) -> Fault {
        let options = &self.options;
        let text = format!(
            "{}:{}/{} as {}: {}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_default(),
            options.get_username(),
            fault.text
        );
        Fault { text, ..fault }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease<'_> {
    /// Only when no transaction is open and no answer outstanding.
    pub fn give_back(mut self) {
        if let Some(connection) = self.connection.take() {
            self.home.idle().push(connection);
        }
    }
}

impl Deref for Lease<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("taken out only by give_back, which consumes the lease")
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("taken out only by give_back, which consumes the lease")
    }
}
