// What is on disk and where: a SQLite database beside the page files.
//
//     blocks     name, the block before it (a root for the first), place
//     snapshots  name, the block that it continues (or a root), length in tokens, place, and what its worth
//                follows from
//
// A block is in the index only if all blocks before it are, so what is known of a conversation is found by
// bisection. The index is a cache of a cache: whatever it says is checked against the record (page_files.h),
// and one that is broken is thrown away with all that it tells of.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "prefix/page_files.h"
#include "prefix/sqlite.h"

namespace cachalot {

struct StoredBlock {
    ChainKey key{}, parent{};
    Place place;
};

struct StoredSnapshot {
    ChainKey key{}, base{};
    std::int64_t length = 0;  // tokens
    Place place;
    double uses = 0, clock = 0;  // see disk_eviction.h
    std::int64_t last_use = 0;   // seconds since 1970
    std::string model;           // for people
    ChainKey root{};             // of the model and the namespace
};

class DiskIndex {
  public:
    // Throws SqliteError; also if the file is an index of another version or broken (then the error says so).
    DiskIndex(const std::filesystem::path& folder, Sqlite::Open how);

    static void remove(const std::filesystem::path& folder);  // the index, nothing else

    bool has_block(const ChainKey& key);
    bool has_snapshot(const ChainKey& key);
    std::optional<Place> block(const ChainKey& key);
    std::optional<Place> snapshot(const ChainKey& key);
    // Of the snapshots that continue `base` with at most so many tokens, the length of the longest; 0: there
    // is none.
    std::int64_t longest_of(const ChainKey& base, std::int64_t length);

    std::vector<StoredBlock> blocks();
    std::vector<StoredSnapshot> snapshots();
    std::int64_t record_bytes();
    std::map<std::int64_t, std::int64_t> file_ends();  // where the last record of each file ends

    // To be called within a Transaction of database().
    Sqlite& database() { return database_; }
    void add(const StoredBlock& block, std::int64_t depth);  // depth: 1 for the first
    void add(const StoredSnapshot& snapshot);
    void touch(const ChainKey& snapshot, double clock, std::int64_t now);
    void erase_block(const ChainKey& key);
    void erase_snapshot(const ChainKey& key);
    // Records whose places no writer can have named.
    void erase_impossible();
    void erase_beyond(std::int64_t file, std::int64_t size);  // what cannot be in a file of that size
    void erase_stranded();                                    // what needs blocks that are not there
    double clock();
    void set_clock(double clock);

    // Between which bytes of its file nothing lies any more, if the record there is gone.
    std::pair<std::int64_t, std::int64_t> gap(const Place& gone);
    bool file_in_use(std::int64_t file);

  private:
    static std::optional<Place> place(Statement& select, const ChainKey& key);

    Sqlite database_;
    Statement has_block_, has_snapshot_, block_, snapshot_, longest_of_;
};

}  // namespace cachalot
