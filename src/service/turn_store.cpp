#include "service/turn_store.h"

#include <sqlite3.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "prefix/private_folder.h"

namespace cachalot::server {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostWaiting = std::int64_t{32} << 20;  // bytes
constexpr const char* kName = "turns.db";
constexpr std::int64_t kVersion = 1;
constexpr const char* kSchema = R"(
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA journal_size_limit = 4194304;
    CREATE TABLE IF NOT EXISTS turns (
        id INTEGER PRIMARY KEY AUTOINCREMENT, used INTEGER, bytes INTEGER, hash BLOB, payload BLOB
    );
    CREATE TABLE IF NOT EXISTS calls (
        space BLOB, call BLOB, turn INTEGER, PRIMARY KEY (space, call)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS turns_by_use ON turns (used, bytes);
    CREATE INDEX IF NOT EXISTS calls_of ON calls (turn);
)";

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::uint8_t> packed(const RememberedTurn& turn) {
    json calls = json::array();
    for (const auto& call : turn.calls) calls.push_back({call.id, call.name, call.arguments});
    return json::to_cbor(json{{"reasoning", turn.reasoning},
                              {"content", turn.content},
                              {"calls", std::move(calls)},
                              {"tokens", turn.tokens},
                              {"reasoned", turn.reasoned}});
}

// Stops a parser that calls itself for each level before it is too deep.
class ShallowCbor final : public json::json_sax_t {
  public:
    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(json::number_integer_t) override { return true; }
    bool number_unsigned(json::number_unsigned_t) override { return true; }
    bool number_float(json::number_float_t, const std::string&) override { return true; }
    bool string(std::string&) override { return true; }
    bool binary(json::binary_t&) override { return true; }
    bool key(std::string&) override { return true; }
    bool start_object(std::size_t) override { return ++depth_ <= 3; }
    bool start_array(std::size_t) override { return ++depth_ <= 3; }
    bool end_object() override { return --depth_, true; }
    bool end_array() override { return --depth_, true; }
    bool parse_error(std::size_t, const std::string&, const json::exception&) override { return false; }

  private:
    int depth_ = 0;
};

// Nothing if they are not the bytes of a turn.
std::optional<RememberedTurn> unpacked(std::span<const std::byte> payload) {
    const auto* begin = reinterpret_cast<const std::uint8_t*>(payload.data());
    const auto* end = begin + payload.size();
    ShallowCbor shallow;
    if (!json::sax_parse(begin, end, &shallow, json::input_format_t::cbor)) return {};
    const json turn = json::from_cbor(begin, end);
    RememberedTurn result{turn.at("reasoning"), turn.at("content"), {}, {}, turn.at("reasoned")};
    for (const auto& call : turn.at("calls")) result.calls.push_back({call.at(0), call.at(1), call.at(2)});
    for (const auto& token : turn.at("tokens")) {
        if (!token.is_number_unsigned() || !std::in_range<std::int32_t>(token.get<std::uint64_t>()))
            return {};
        result.tokens.push_back(token.get<std::int32_t>());
    }
    return result;
}

// Of a turn and whose it is: the rows that lead from one to the other may be damaged, too.
std::string hash_of(const std::string& space, std::span<const std::byte> payload) {
    Hasher128 hasher;
    hasher.add(bytes_of(space));
    hasher.add(payload);
    return text_of(hasher.hash());
}

std::string database_path(const std::filesystem::path& folder) {
    const std::string path = (folder / kName).string();
    make_private_file(path);  // SQLite's other files get the rights of this one
    return path;
}

Sqlite opened(const std::filesystem::path& folder) {
    Sqlite database(database_path(folder), Sqlite::Open::write);
    {
        Statement pragma(database, "PRAGMA user_version");
        const auto version = pragma.step() ? pragma.integer(0) : 0;
        Statement check(database, "PRAGMA quick_check(1)");
        if ((version != 0 && version != kVersion) || !check.step() || check.text(0) != "ok")
            throw SqliteError(SQLITE_CORRUPT,
                              fmt::format("{}: is damaged or of another version", (folder / kName).string()));
    }
    database.run(kSchema);
    database.run(fmt::format("PRAGMA user_version = {}", kVersion));
    return database;
}

}  // namespace

TurnStore::TurnStore(const std::filesystem::path& folder, const Hash128& tokenizer,
                     const ToolMemory::Limits& limits, Log log)
    : folder_(folder), tokenizer_(tokenizer), limits_(limits), log_(std::move(log)) {
    make_private_folder(folder);
    try {
        open();
    } catch (const SqliteError& e) {
        if (!e.broken()) throw;
        log_.warn("the calls of tools on disk are broken, and are forgotten", {{"error", e.what()}});
        written_.reset();
        read_.reset();
        known_.clear();
        remove(folder);
        open();
    }
    writer_.emplace("keeping calls of tools", [this](const Job& job) { perform(job); });
}

TurnStore::~TurnStore() = default;

void TurnStore::open() {
    written_.emplace(opened(folder_));
    read_.emplace((folder_ / kName).string(), Sqlite::Open::read);
    Statement select(*read_, "SELECT space, call FROM calls");
    while (select.step()) known_.insert(text_of(select.bytes(0)) + text_of(select.bytes(1)));
}

// The length stands first, so that no two pairs of space and id are one text.
std::string TurnStore::space_of(const std::string& tenant) const {
    return text_of(tokenizer_) + fmt::format("{}:", tenant.size()) + tenant;
}

void TurnStore::store(const std::string& tenant, Turn turn) { push({space_of(tenant), std::move(turn)}); }

TurnStore::Turn TurnStore::find(const std::string& tenant, const std::string& call_id) {
    const auto space = space_of(tenant);
    std::pair<std::int64_t, Turn> found;
    {
        std::lock_guard lock(read_mutex_);
        const auto known = known_.find(space + call_id);
        if (known == known_.end()) return nullptr;
        found = read(space, call_id);
        if (!found.second) known_.erase(known);
    }
    if (found.second) push({{}, nullptr, found.first});
    return found.second;
}

std::pair<std::int64_t, TurnStore::Turn> TurnStore::read(const std::string& space,
                                                         const std::string& call_id) {
    try {
        Statement select(*read_,
                         "SELECT id, hash, payload FROM turns JOIN calls ON calls.turn = turns.id "
                         "WHERE space = ? AND call = ?");
        if (!select.start(bytes_of(space), bytes_of(call_id)).step()) return {};
        const auto id = select.integer(0);
        const auto hash = text_of(select.bytes(1));
        const auto payload = select.bytes(2);
        if (hash != hash_of(space, payload)) {
            unreadable("a turn is damaged");
            return {};
        }
        auto kept = unpacked(payload);
        if (!kept) {
            unreadable("a turn is damaged");
            return {};
        }
        const auto turn = std::make_shared<const RememberedTurn>(std::move(*kept));
        const bool made_it = std::any_of(turn->calls.begin(), turn->calls.end(),
                                         [&](const auto& call) { return call.id == call_id; });
        if (made_it) return {id, turn};
        unreadable("a damaged row leads to another turn");
    } catch (const SqliteError& e) {
        unreadable(e.what());
    } catch (const json::exception& e) {
        unreadable(e.what());
    }
    return {};
}

void TurnStore::unreadable(const std::string& why) const {
    log_.often(LogLevel::warn, "a call of a tool on disk cannot be read, and is forgotten",
               {{"folder", folder_.string()}, {"error", why}});
}

void TurnStore::push(Job job) {
    const auto bytes = job.turn ? static_cast<std::int64_t>(size_of(*job.turn)) : 0;
    if (!writer_->push(std::move(job), bytes, kMostWaiting))
        log_.often(LogLevel::warn, "a call of a tool is not kept on disk: too much waits to be written");
}

void TurnStore::flush() { writer_->flush(); }

void TurnStore::perform(const Job& job) {
    try {
        write(job);
    } catch (const std::exception& e) {
        log_.often(LogLevel::warn, "a call of a tool is not kept on disk", {{"error", e.what()}});
    }
}

void TurnStore::write(const Job& job) {
    Sqlite& database = *written_;
    Transaction transaction(database);
    constexpr const char* kNow = "(SELECT COALESCE(MAX(used), 0) + 1 FROM turns)";
    if (!job.turn) {
        Statement(database, fmt::format("UPDATE turns SET used = {} WHERE id = ?", kNow)).start(job.id).run();
        transaction.commit();
        return;
    }
    const auto payload = packed(*job.turn);
    const auto bytes = std::as_bytes(std::span(payload));
    if (payload.size() > limits_.bytes || limits_.turns == 0) return;
    const auto hash = hash_of(job.space, bytes);
    make_room(static_cast<std::int64_t>(payload.size()));
    Statement(database,
              fmt::format("INSERT INTO turns (used, bytes, hash, payload) VALUES ({}, ?, ?, ?)", kNow))
        .start(static_cast<std::int64_t>(payload.size()), bytes_of(hash), bytes)
        .run();
    Statement last(database, "SELECT last_insert_rowid()");
    last.step();
    const auto id = last.integer(0);
    last.reset();
    for (const auto& call : job.turn->calls)
        Statement(database, "INSERT OR REPLACE INTO calls VALUES (?, ?, ?)")
            .start(bytes_of(job.space), bytes_of(call.id), id)
            .run();
    transaction.commit();
}

// Forgets what has not been used for longest until there is room for one more turn of that many bytes.
void TurnStore::make_room(std::int64_t bytes) {
    Statement total(*written_, "SELECT COUNT(*), TOTAL(bytes) FROM turns");
    total.step();
    auto turns = total.integer(0);
    auto held = static_cast<std::int64_t>(total.real(1));
    total.reset();
    while (turns > 0 &&
           (std::cmp_greater_equal(turns, limits_.turns) || std::cmp_greater(held + bytes, limits_.bytes))) {
        Statement oldest(*written_, "SELECT id, bytes FROM turns ORDER BY used LIMIT 1");
        if (!oldest.step()) return;
        const auto id = oldest.integer(0);
        held -= oldest.integer(1);
        --turns;
        oldest.reset();
        Statement(*written_, "DELETE FROM turns WHERE id = ?").start(id).run();
        Statement(*written_, "DELETE FROM calls WHERE turn = ?").start(id).run();
    }
}

bool TurnStore::exists(const std::filesystem::path& folder) {
    std::error_code ignored;
    return std::filesystem::exists(folder / kName, ignored);
}

TurnStore::Stats TurnStore::stats(const std::filesystem::path& folder) {
    if (!exists(folder)) return {};
    try {
        Sqlite database((folder / kName).string(), Sqlite::Open::read);
        Statement total(database, "SELECT COUNT(*), TOTAL(bytes) FROM turns");
        if (total.step()) return {total.integer(0), static_cast<std::int64_t>(total.real(1))};
    } catch (const SqliteError&) {
    }
    return {};
}

void TurnStore::remove(const std::filesystem::path& folder) {
    for (const char* end : {"", "-wal", "-shm", "-journal"}) {
        std::error_code ignored;
        std::filesystem::remove(folder / (std::string(kName) + end), ignored);
    }
}

}  // namespace cachalot::server
