#include "prefix/disk_index.h"

#include <sqlite3.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "prefix/private_folder.h"

namespace cachalot {
namespace {

constexpr std::int64_t kVersion = 1;

constexpr const char* kSchema = R"(
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS blocks (
        key BLOB PRIMARY KEY, parent BLOB, depth INTEGER, file INTEGER, offset INTEGER, size INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS snapshots (
        key BLOB PRIMARY KEY, base BLOB, length INTEGER, file INTEGER, offset INTEGER, size INTEGER,
        uses REAL, clock REAL, last_use INTEGER, model TEXT, root BLOB
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY CHECK (id = 1), value REAL);
    CREATE INDEX IF NOT EXISTS snapshots_of ON snapshots (base, length);
    CREATE INDEX IF NOT EXISTS blocks_at ON blocks (file, offset);
    CREATE INDEX IF NOT EXISTS snapshots_at ON snapshots (file, offset);
    CREATE VIEW IF NOT EXISTS records AS
        SELECT file, offset, size FROM blocks UNION ALL SELECT file, offset, size FROM snapshots;
)";
constexpr std::string_view kSnapshotColumns =
    "key, base, length, file, offset, size, uses, clock, last_use, model, root";

std::string database_path(const std::filesystem::path& folder, Sqlite::Open how) {
    const std::string path = (folder / "index.db").string();
    if (how == Sqlite::Open::write)
        make_private_file(path);  // SQLite's other files get the rights of this one
    return path;
}

[[noreturn]] void broken(const std::filesystem::path& folder, const std::string& why) {
    throw SqliteError(SQLITE_CORRUPT, fmt::format("{}: {}", (folder / "index.db").string(), why));
}

Sqlite checked(const std::filesystem::path& folder, Sqlite::Open how) {
    Sqlite database(database_path(folder, how), how);
    std::int64_t version = 0;
    {
        Statement pragma(database, "PRAGMA user_version");
        if (pragma.step()) version = pragma.integer(0);
    }
    if (how == Sqlite::Open::read) {
        if (version != kVersion) broken(folder, "an index of another version");
        return database;
    }
    if (version != 0 && version != kVersion) broken(folder, "an index of another version");
    {
        Statement check(database, "PRAGMA quick_check(1)");
        if (!check.step() || check.text(0) != "ok") broken(folder, "the index is damaged");
    }
    database.run(kSchema);
    database.run(fmt::format("PRAGMA user_version = {}", kVersion));
    return database;
}

ChainKey key_of(const Statement& row, int column) {
    ChainKey key{};
    if (auto bytes = row.bytes(column); bytes.size() == key.size())
        std::memcpy(key.data(), bytes.data(), key.size());
    return key;
}

Place place_of(const Statement& row, int column) {
    return {row.integer(column), row.integer(column + 1), row.integer(column + 2)};
}

double finite(double value) { return std::isfinite(value) ? value : 0; }

StoredSnapshot snapshot_of(const Statement& row) {
    return {key_of(row, 0),      key_of(row, 1), row.integer(2), place_of(row, 3), finite(row.real(6)),
            finite(row.real(7)), row.integer(8), row.text(9),    key_of(row, 10)};
}

}  // namespace

DiskIndex::DiskIndex(const std::filesystem::path& folder, Sqlite::Open how)
    : database_(checked(folder, how)),
      has_block_(database_, "SELECT 1 FROM blocks WHERE key = ?"),
      has_snapshot_(database_, "SELECT 1 FROM snapshots WHERE key = ?"),
      block_(database_, "SELECT file, offset, size FROM blocks WHERE key = ?"),
      snapshot_(database_, "SELECT file, offset, size FROM snapshots WHERE key = ?"),
      longest_of_(database_, "SELECT MAX(length) FROM snapshots WHERE base = ? AND length <= ?") {}

void DiskIndex::remove(const std::filesystem::path& folder) {
    for (const char* name : {"index.db", "index.db-wal", "index.db-shm", "index.db-journal"}) {
        std::error_code ignored;
        std::filesystem::remove(folder / name, ignored);
    }
}

bool DiskIndex::has_block(const ChainKey& key) {
    const bool found = has_block_.start(std::span(key)).step();
    has_block_.reset();
    return found;
}

bool DiskIndex::has_snapshot(const ChainKey& key) {
    const bool found = has_snapshot_.start(std::span(key)).step();
    has_snapshot_.reset();
    return found;
}

std::optional<Place> DiskIndex::block(const ChainKey& key) { return place(block_, key); }

std::optional<Place> DiskIndex::snapshot(const ChainKey& key) { return place(snapshot_, key); }

std::optional<Place> DiskIndex::place(Statement& select, const ChainKey& key) {
    std::optional<Place> found;
    if (select.start(std::span(key)).step()) found = place_of(select, 0);
    select.reset();
    return found;
}

std::int64_t DiskIndex::longest_of(const ChainKey& base, std::int64_t length) {
    const bool row = longest_of_.start(std::span(base), length).step();
    const auto longest = row ? longest_of_.integer(0) : 0;
    longest_of_.reset();
    return std::max<std::int64_t>(longest, 0);
}

std::vector<StoredBlock> DiskIndex::blocks() {
    std::vector<StoredBlock> all;
    Statement select(database_, "SELECT key, parent, file, offset, size FROM blocks");
    while (select.step()) all.push_back({key_of(select, 0), key_of(select, 1), place_of(select, 2)});
    return all;
}

std::vector<StoredSnapshot> DiskIndex::snapshots() {
    std::vector<StoredSnapshot> all;
    Statement select(database_, fmt::format("SELECT {} FROM snapshots ORDER BY last_use DESC, length DESC",
                                            kSnapshotColumns));
    while (select.step()) all.push_back(snapshot_of(select));
    return all;
}

std::int64_t DiskIndex::record_bytes() {
    Statement select(database_, "SELECT TOTAL(size) FROM records");
    return select.step() ? static_cast<std::int64_t>(select.real(0)) : 0;
}

std::map<std::int64_t, std::int64_t> DiskIndex::file_ends() {
    std::map<std::int64_t, std::int64_t> ends;
    Statement select(database_, "SELECT file, MAX(offset + size) FROM records GROUP BY file");
    while (select.step()) ends[select.integer(0)] = select.integer(1);
    return ends;
}

void DiskIndex::add(const StoredBlock& block, std::int64_t depth) {
    Statement(database_, "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?, ?, ?)")
        .start(std::span(block.key), std::span(block.parent), depth, block.place.file, block.place.offset,
               block.place.size)
        .run();
}

void DiskIndex::add(const StoredSnapshot& s) {
    Statement(database_, "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .start(std::span(s.key), std::span(s.base), s.length, s.place.file, s.place.offset, s.place.size,
               s.uses, s.clock, s.last_use, s.model, std::span(s.root))
        .run();
}

void DiskIndex::touch(const ChainKey& snapshot, double clock, std::int64_t now) {
    Statement(database_, "UPDATE snapshots SET uses = uses + 1, clock = ?, last_use = ? WHERE key = ?")
        .start(clock, now, std::span(snapshot))
        .run();
}

void DiskIndex::erase_block(const ChainKey& key) {
    Statement(database_, "DELETE FROM blocks WHERE key = ?").start(std::span(key)).run();
}

void DiskIndex::erase_snapshot(const ChainKey& key) {
    Statement(database_, "DELETE FROM snapshots WHERE key = ?").start(std::span(key)).run();
}

void DiskIndex::erase_impossible() {
    constexpr std::int64_t kMostFiles = std::int64_t(1) << 62;
    for (const char* table : {"blocks", "snapshots"})
        Statement(database_,
                  fmt::format("DELETE FROM {} WHERE typeof(file) <> 'integer' OR file < 1 OR file > ? "
                              "OR typeof(offset) <> 'integer' OR typeof(size) <> 'integer'",
                              table))
            .start(kMostFiles)
            .run();
}

void DiskIndex::erase_beyond(std::int64_t file, std::int64_t size) {
    for (const char* table : {"blocks", "snapshots"})
        Statement(
            database_,
            fmt::format("DELETE FROM {} WHERE file = ? AND (offset < 0 OR size < 0 OR offset + size > ?)",
                        table))
            .start(file, size)
            .run();
}

void DiskIndex::erase_stranded() {
    do database_.run("DELETE FROM blocks WHERE depth <> 1 AND parent NOT IN (SELECT key FROM blocks)");
    while (database_.changes() > 0);
    Statement(database_, "DELETE FROM snapshots WHERE length >= ? AND base NOT IN (SELECT key FROM blocks)")
        .start(TokenChain::kBlock)
        .run();
}

double DiskIndex::clock() {
    Statement select(database_, "SELECT value FROM clock");
    return select.step() ? finite(select.real(0)) : 0;
}

void DiskIndex::set_clock(double clock) {
    Statement(database_, "INSERT OR REPLACE INTO clock VALUES (1, ?)").start(clock).run();
}

std::pair<std::int64_t, std::int64_t> DiskIndex::gap(const Place& gone) {
    Statement before(database_, "SELECT MAX(offset + size) FROM records WHERE file = ? AND offset < ?");
    Statement after(database_, "SELECT MIN(offset) FROM records WHERE file = ? AND offset >= ?");
    const bool left = before.start(gone.file, gone.offset).step();
    const std::int64_t begin = left ? before.integer(0) : 0;
    after.start(gone.file, gone.offset).step();
    const std::int64_t end = after.integer(0);  // 0: there is none
    return {begin, end ? end : gone.offset + gone.size};
}

bool DiskIndex::file_in_use(std::int64_t file) {
    Statement select(database_, "SELECT 1 FROM records WHERE file = ? LIMIT 1");
    return select.start(file).step();
}

}  // namespace cachalot
