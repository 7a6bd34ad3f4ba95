"""How the city's own PostgreSQL is set: a table for a two-core machine, and what tests change about it."""

from __future__ import annotations

import msgspec


class Setting(msgspec.Struct, frozen=True):
    """One line of PostgreSQL's configuration and the reason for it."""

    name: str
    value: str
    why: str

    def line(self) -> str:
        """The setting as it stands in the configuration file."""
        value = self.value.replace("'", "''")
        return f"{self.name} = '{value}'  # {self.why}"


COMMON: tuple[Setting, ...] = (
    Setting("listen_addresses", "", "Unix socket only: no port to take, nothing on the network"),
    Setting("port", "5432", "only names the socket file"),
    Setting("unix_socket_permissions", "0700", "the database's own user and root"),
    Setting("timezone", "UTC", "instants are UTC everywhere; people see city time in the portal"),
    Setting("log_timezone", "UTC", "as the other logs"),
    Setting("lc_messages", "C", "the launcher reads PostgreSQL's English words"),
    Setting("log_min_messages", "warning", "the log is for trouble"),
    Setting("log_checkpoints", "off", "one line each quarter of an hour says nothing"),
    Setting("jit", "off", "many short statements; compiling costs more than it saves"),
    Setting("work_mem", "16MB", "sorts of one city's rows stay in memory"),
    Setting("max_locks_per_transaction", "256", "months of partitions in one statement"),
    Setting("idle_in_transaction_session_timeout", "60s", "a stuck client must not hold back vacuum"),
)

LIVE: tuple[Setting, ...] = (
    *COMMON,
    Setting("shared_buffers", "256MB", "current state and its indexes fit; shared by all processes"),
    Setting("effective_cache_size", "1GB", "what the system caches on a small machine"),
    Setting("maintenance_work_mem", "128MB", "index builds at load"),
    Setting("max_connections", "100", "web, workers, operators"),
    Setting("synchronous_commit", "on", "an acknowledged reading is on disk"),
    Setting("fsync", "on", "as above"),
    Setting("full_page_writes", "on", "no torn page after a power cut"),
    Setting("wal_compression", "on", "full-page images shrink to a fraction"),
    Setting("max_wal_size", "2GB", "checkpoints by time, not by volume, under ingest"),
    Setting("min_wal_size", "160MB", "recycle instead of creating segments"),
    Setting("checkpoint_timeout", "15min", "fewer full-page images; recovery stays within seconds"),
    Setting("checkpoint_completion_target", "0.9", "spread the writes"),
    Setting("random_page_cost", "1.1", "solid-state disks"),
    Setting("max_parallel_workers_per_gather", "1", "two cores: one query may not take both"),
    Setting("max_worker_processes", "6", "two cores"),
    Setting("autovacuum_naptime", "20s", "current state is updated thousands of times a minute"),
    Setting("autovacuum_vacuum_scale_factor", "0.05", "vacuum small hot tables early"),
    Setting("autovacuum_analyze_scale_factor", "0.05", "fresh plans after a load"),
    Setting("autovacuum_vacuum_cost_limit", "1000", "keep up with ingest"),
    Setting("log_min_duration_statement", "2s", "slow statements are trouble"),
    Setting("log_lock_waits", "on", "so are waits"),
)

FAST: tuple[Setting, ...] = (
    *COMMON,
    Setting("shared_buffers", "64MB", "tests are small"),
    Setting("max_connections", "60", "one pool for each test worker"),
    Setting("fsync", "off", "throwaway data"),
    Setting("synchronous_commit", "on", "tests kill the database and look for what was committed"),
    Setting("full_page_writes", "off", "throwaway data"),
    Setting("wal_level", "minimal", "nothing is replicated"),
    Setting("max_wal_senders", "0", "needed by wal_level = minimal"),
    Setting("dynamic_shared_memory_type", "mmap", "a killed test run leaves nothing outside its folder"),
    Setting("max_wal_size", "64MB", "memory is the disk"),
    Setting("min_wal_size", "16MB", "memory is the disk"),
    Setting("checkpoint_timeout", "1h", "never during a test run"),
    Setting("autovacuum", "off", "no surprise work while timing a test"),
    Setting("max_parallel_workers_per_gather", "0", "same plans on every machine"),
)
