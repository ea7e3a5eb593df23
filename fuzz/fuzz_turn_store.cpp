// A database of turns in which somebody has written any bytes for a turn, with the hash that belongs to them:
// it is a turn that made the call that is asked for, or it is not there.
//
// Input: the bytes of the turn.
#include "input.h"
#include "prefix/sqlite.h"
#include "service/turn_store.h"

using namespace cachalot;
using namespace cachalot::server;

namespace {

// A store with one turn, and the database behind it.
struct Store {
    fuzz::Folder folder;
    std::optional<Sqlite> database;
    std::vector<std::byte> space;

    Store() {
        {
            auto turn = std::make_shared<RememberedTurn>();
            turn->calls.push_back({"call_1", "f", "{}"});
            TurnStore(folder.path(), {}).store("tenant", turn);
        }
        // What a process has stored itself, it remembers elsewhere: only a store that is opened later finds
        // it.
        CACHALOT_CHECK(TurnStore(folder.path(), {}).find("tenant", "call_1"));
        database.emplace((folder.path() / "turns.db").string(), Sqlite::Open::write);
        Statement select(*database, "SELECT space FROM calls");
        CACHALOT_CHECK(select.step());
        const auto bytes = select.bytes(0);
        space.assign(bytes.begin(), bytes.end());
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Store made;
    const auto payload = std::as_bytes(std::span(data, size));
    Hasher128 hasher;
    hasher.add(made.space);
    hasher.add(payload);
    const auto hash = hasher.hash();
    Statement(*made.database, "UPDATE turns SET payload = ?, hash = ?")
        .start(payload, std::span<const std::byte>(hash))
        .run();
    // A turn that was not found is forgotten by the store, so each input has one of its own.
    TurnStore store(made.folder.path(), {});
    if (const auto turn = store.find("tenant", "call_1")) {
        bool made_it = false;
        for (const auto& call : turn->calls) made_it = made_it || call.id == "call_1";
        CACHALOT_CHECK(made_it);
    }
    return 0;
}
