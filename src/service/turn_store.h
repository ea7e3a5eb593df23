// Turns that called tools, on disk: what ToolMemory (tool_memory.h) puts back after a restart.
//
// Without it a server that is started again would render a running conversation otherwise than before:
// without the reasoning that the client has dropped and with arguments that the client has written anew. The
// prefixes on disk (disk_tier.h) would not be found, and the model would see other words than its own.
//
//     turns.db   a SQLite database in the folder of the prefixes, the owner's alone
//
//     turns      id, last use, size, hash of space and payload, payload: the turn in CBOR
//     calls      space (tokenizer and tenant), id of a call, turn
//
// One thread writes; what it has not written when the process dies is forgotten. The ids that are there are
// read when the store is opened, so that an id that is unknown costs no look at the disk. Several processes
// may use a folder. Whatever is wrong with the database costs what is in it and nothing else: a database that
// is broken is made anew when it is opened, a turn that is not what its hash says is not there. The log is
// told why.
#pragma once

#include <filesystem>
#include <mutex>
#include <optional>
#include <unordered_set>

#include "base/background_queue.h"
#include "base/hash.h"
#include "base/log.h"
#include "prefix/sqlite.h"
#include "service/tool_memory.h"

namespace cachalot::server {

class TurnStore {
  public:
    using Turn = std::shared_ptr<const RememberedTurn>;
    static constexpr ToolMemory::Limits kLimits{10'000, std::size_t{64} << 20};

    // `tokenizer`: whose tokens the turns hold (content_fingerprint.h); those of others are not found. Throws
    // Error if the folder cannot be used or is open to others, or the machine refuses.
    TurnStore(const std::filesystem::path& folder, const Hash128& tokenizer,
              const ToolMemory::Limits& limits = kLimits, Log log = {});
    ~TurnStore();  // when all that waits is written

    // These may be called by any thread. store() returns at once; the turns that have not been used for
    // longest go when there is no room.
    void store(const std::string& tenant, Turn turn);
    Turn find(const std::string& tenant, const std::string& call_id);  // null: it is not there
    void flush();                                                      // returns when nothing waits

    // What is in a folder, of all tokenizers. Nothing if there is no store, or one that cannot be read.
    struct Stats {
        std::int64_t turns = 0, bytes = 0;
    };
    static Stats stats(const std::filesystem::path& folder);
    static bool exists(const std::filesystem::path& folder);
    static void remove(const std::filesystem::path& folder);

  private:
    // A turn to be written; without one, a use of the turn `id`.
    struct Job {
        std::string space;
        Turn turn;
        std::int64_t id = 0;
    };

    std::string space_of(const std::string& tenant) const;
    void open();
    void push(Job job);
    void perform(const Job& job);
    void write(const Job& job);
    void make_room(std::int64_t bytes);
    void unreadable(const std::string& why) const;
    std::pair<std::int64_t, Turn> read(const std::string& space, const std::string& call_id);

    const std::filesystem::path folder_;
    const Hash128 tokenizer_;
    const ToolMemory::Limits limits_;
    const Log log_;
    std::optional<Sqlite> written_;  // the writer's
    std::mutex read_mutex_;          // of the next two
    std::optional<Sqlite> read_;
    std::unordered_set<std::string> known_;       // space and id of each call
    std::optional<BackgroundQueue<Job>> writer_;  // last: it uses the rest
};

}  // namespace cachalot::server
