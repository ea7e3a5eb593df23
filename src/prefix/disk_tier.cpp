#include "prefix/disk_tier.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <system_error>

#include "prefix/disk_eviction.h"
#include "prefix/private_folder.h"

namespace cachalot {
namespace {

constexpr auto kBlock = TokenChain::kBlock;

std::string reason() { return std::generic_category().message(errno); }

}  // namespace

DiskTierLock::DiskTierLock(const std::filesystem::path& folder) {
    make_private_folder(folder);
    const auto path = folder / "lock";
    file_.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file_) fail("{}: cannot be opened: {}", path.string(), reason());
    if (::flock(file_.get(), LOCK_EX | LOCK_NB) == 0) return;
    if (errno == EWOULDBLOCK) fail("{}: another process is using it", folder.string());
    fail("{}: cannot lock: {}", path.string(), reason());
}

DiskTier::DiskTier(const DiskTierOptions& options, std::shared_ptr<KvPool> pool)
    : options_(options),
      codec_(std::move(pool)),
      lock_(options.folder),
      files_(options.folder, options.calls ? *options.calls : calls_, options.file_limit) {
    try {
        open_index();
    } catch (const SqliteError& e) {
        if (!e.broken()) throw;
        options_.log.warn("the index of the prefixes on disk is broken, and is made anew without them",
                          {{"error", e.what()}});
        index_.reset();
        known_.reset();
        DiskIndex::remove(options_.folder);
        open_index();
    }
    bytes_ = index_->record_bytes();
    writer_.emplace("keeping prefixes", [this](const Job& job) {
        perform(job);
        forget_waiting(job);
    });
    reader_.emplace(files_, codec_,
                    [this](const ChainKey& name, const std::string& problem) { ended(name, problem); });
}

void DiskTier::open_index() {
    index_.emplace(options_.folder, Sqlite::Open::write);
    {
        Transaction transaction(index_->database());
        index_->erase_impossible();
        for (const auto& [file, end] : index_->file_ends()) {
            std::error_code error;
            auto size = std::filesystem::file_size(files_.path(file), error);
            index_->erase_beyond(file, error ? -1 : static_cast<std::int64_t>(size));
        }
        index_->erase_stranded();
        transaction.commit();
    }
    files_.keep_only(index_->file_ends());
    known_.emplace(options_.folder, Sqlite::Open::read);
}

DiskTier::~DiskTier() = default;

DiskTierStats DiskTier::stats() const {
    return {bytes_, written_, skipped_, evictions_, write_errors_, read_errors_};
}

void DiskTier::flush() { writer_->flush(); }

// What is wrong with the index is no concern of whoever asks.
template <class Work>
auto DiskTier::guarded(const Work& work) -> decltype(work()) {
    try {
        return work();
    } catch (const SqliteError& e) {
        ++read_errors_;
        options_.log.often(LogLevel::warn, "the index of the prefixes on disk cannot be read",
                           {{"error", e.what()}});
        return {};
    }
}

// On the reader's thread.
void DiskTier::ended(const ChainKey& name, const std::string& problem) {
    Job job;
    (problem.empty() ? job.used : job.forgotten).push_back(name);
    if (!problem.empty()) {
        ++read_errors_;
        options_.log.often(LogLevel::warn, "a prefix on disk cannot be read, and is forgotten",
                           {{"error", problem}});
    }
    push(std::move(job));
}

std::int64_t DiskTier::find(const std::string& space, std::span<const std::int32_t> tokens) {
    return guarded([&]() -> std::int64_t {
        const TokenChain chain(options_.model, space, tokens);
        // A block is there only if those before it are.
        std::int64_t low = 0, high = chain.blocks();
        while (low < high) {
            auto middle = (low + high + 1) / 2;
            if (known_->has_block(chain.block(middle)))
                low = middle;
            else
                high = middle - 1;
        }
        // Of each block at most as many lengths as it has tokens, however many snapshots there are.
        for (auto i = low; i >= 0; --i)
            for (auto n = std::min(chain.size(), (i + 1) * kBlock - 1);; --n) {
                n = known_->longest_of(chain.block(i), n);
                if (n < std::max<std::int64_t>(i * kBlock, 1)) break;
                if (known_->has_snapshot(chain.prefix(n))) return n;
            }
        return 0;
    });
}

std::shared_ptr<DiskRead> DiskTier::fetch(const std::string& space, std::span<const std::int32_t> tokens,
                                          std::int64_t length, const KvCheckpoint* known) {
    return guarded([&]() -> std::shared_ptr<DiskRead> {
        const TokenChain chain(options_.model, space, tokens.first(static_cast<std::size_t>(length)));
        const auto shared = known ? std::min(known->length, length) / kBlock * kBlock : 0;
        std::vector<DiskRead::Record> records;
        for (auto i = shared / kBlock; i < chain.blocks(); ++i) {
            const auto& key = chain.block(i + 1);
            const auto place = known_->block(key);
            if (!place) return nullptr;  // evicted meanwhile
            records.push_back({*place, key});
        }
        const auto key = chain.prefix(length);
        const auto place = known_->snapshot(key);
        if (!place) return nullptr;
        records.push_back({*place, key});
        auto read = std::make_shared<DiskRead>(codec_, codec_.beginning(known, chain.tokens(0, shared)),
                                               chain.tokens(shared, length), std::move(records));
        reader_->start(read);
        return read;
    });
}

void DiskTier::store(const std::string& space, std::span<const std::int32_t> tokens,
                     const KvCheckpoint& state, const Room& room) {
    CACHALOT_CHECK(state.length == static_cast<std::int64_t>(tokens.size()));
    guarded([&] {
        const TokenChain chain(options_.model, space, tokens);
        const auto key = chain.prefix(state.length);
        Job job;
        if (queued(key)) return true;
        if (known_->has_snapshot(key)) {
            job.used.push_back(key);
            push(std::move(job));
            return true;
        }
        auto there = chain.blocks();
        while (there > 0 && !queued(chain.block(there)) && !known_->has_block(chain.block(there))) --there;
        job.root = chain.block(0);
        job.bytes = codec_.rows_bytes(there * kBlock, state.length) +
                    static_cast<std::int64_t>(state.rings.size()) +
                    (chain.blocks() + 1 - there) * PageFiles::kHeader;
        if (!writer_->fits(job.bytes, options_.queue) || (room && !room(job.bytes))) {
            ++skipped_;
            return true;
        }
        for (auto i = there; i <= chain.blocks(); ++i) {
            const bool snapshot = i == chain.blocks();
            const auto end = snapshot ? state.length : (i + 1) * kBlock;
            Piece piece{snapshot ? key : chain.block(i + 1), chain.block(i), end, snapshot,
                        codec_.no_bytes()};
            const auto rows = static_cast<std::size_t>(codec_.rows_bytes(i * kBlock, end));
            piece.payload.reserve(rows + (snapshot ? state.rings.size() : 0));
            piece.payload.resize(rows);
            codec_.write_rows(state, i * kBlock, chain.tokens(i * kBlock, end), piece.payload);
            if (snapshot) piece.payload.insert(piece.payload.end(), state.rings.begin(), state.rings.end());
            job.pieces.push_back(std::move(piece));
        }
        push(std::move(job));
        return true;
    });
}

void DiskTier::touch(const std::string& space, std::span<const std::int32_t> tokens) {
    Job job;
    job.used.push_back(
        TokenChain(options_.model, space, tokens).prefix(static_cast<std::int64_t>(tokens.size())));
    push(std::move(job));
}

bool DiskTier::queued(const ChainKey& key) {
    std::lock_guard lock(waiting_mutex_);
    return waiting_.contains(key);
}

bool DiskTier::release_memory() {
    const bool reads = reader_->settle();
    const auto given_up = writer_->withdraw();
    if (!given_up) return reads;
    for (const Job& job : *given_up) {
        forget_waiting(job);
        ++skipped_;
    }
    return true;
}

void DiskTier::forget_waiting(const Job& job) {
    std::lock_guard lock(waiting_mutex_);
    for (const auto& piece : job.pieces) waiting_.erase(piece.key);
}

void DiskTier::push(Job job) {
    {
        std::lock_guard lock(waiting_mutex_);
        for (const auto& piece : job.pieces) waiting_.insert(piece.key);
    }
    const auto bytes = job.bytes;
    writer_->push(std::move(job), bytes);
}

void DiskTier::perform(const Job& job) {
    try {
        if (!job.forgotten.empty()) forget(job.forgotten);
        if (!job.used.empty()) {
            Transaction transaction(index_->database());
            for (const auto& key : job.used) index_->touch(key, index_->clock(), std::time(nullptr));
            transaction.commit();
        }
        if (!job.pieces.empty()) write(job);
    } catch (const std::exception& e) {
        ++write_errors_;
        options_.log.often(LogLevel::warn, "a prefix is not kept on disk",
                           {{"bytes", job.bytes}, {"error", e.what()}});
        files_.discard();
        auto* failed = dynamic_cast<const WriteError*>(&e);
        auto* database = dynamic_cast<const SqliteError*>(&e);
        if (!(failed && failed->code == ENOSPC) && !(database && database->full())) return;
        try {  // the next one shall fit
            make_room(options_.budget - bytes_ + job.bytes, {});
        } catch (const std::exception& again) {
            options_.log.often(LogLevel::warn, "no room can be made for prefixes on disk",
                               {{"error", again.what()}});
        }
    }
}

void DiskTier::write(const Job& job) {
    if (job.bytes > options_.budget) {
        ++skipped_;
        return;
    }
    const auto& first = job.pieces.front();
    make_room(job.bytes, first.parent);
    // What it continues may have been evicted or forgotten since it was queued.
    if (first.parent != job.root && !index_->has_block(first.parent)) {
        ++skipped_;
        return;
    }
    const double clock = index_->clock();
    std::vector<Place> places;
    for (const auto& piece : job.pieces) places.push_back(files_.append(piece.key, piece.payload));
    files_.sync();
    std::int64_t bytes = 0;
    Transaction transaction(index_->database());
    for (std::size_t i = 0; i < places.size(); ++i) {
        const auto& piece = job.pieces[i];
        bytes += places[i].size;
        if (piece.snapshot)
            index_->add(StoredSnapshot{piece.key, piece.parent, piece.length, places[i], 1, clock,
                                       std::time(nullptr), options_.model_name, job.root});
        else
            index_->add(StoredBlock{piece.key, piece.parent, places[i]}, piece.length / kBlock);
    }
    transaction.commit();
    bytes_ += bytes;
    ++written_;
}

// Makes sure that so many bytes can be added, and a little more, so that not every write has to.
void DiskTier::make_room(std::int64_t bytes, const ChainKey& wanted) {
    const auto beyond = bytes_ + bytes - options_.budget;
    if (beyond <= 0) return;
    const auto chosen = choose_eviction(index_->blocks(), index_->snapshots(), wanted, index_->clock(),
                                        beyond + options_.budget / 32);
    std::vector<Place> places;
    Transaction transaction(index_->database());
    for (const auto& block : chosen.blocks) {
        index_->erase_block(block.key);
        places.push_back(block.place);
    }
    for (const auto& snapshot : chosen.snapshots) {
        index_->erase_snapshot(snapshot.key);
        places.push_back(snapshot.place);
    }
    index_->set_clock(chosen.clock);
    transaction.commit();
    evictions_ += static_cast<std::int64_t>(chosen.snapshots.size());
    give_back(places);
}

void DiskTier::forget(const std::vector<ChainKey>& keys) {
    Transaction transaction(index_->database());
    for (const auto& key : keys) {
        index_->erase_block(key);
        index_->erase_snapshot(key);
    }
    index_->erase_stranded();
    transaction.commit();
    bytes_ = index_->record_bytes();  // what lay there becomes free with its file
}

void DiskTier::give_back(const std::vector<Place>& places) {
    bytes_ = index_->record_bytes();
    for (const auto& place : places)
        if (index_->file_in_use(place.file)) {
            auto [begin, end] = index_->gap(place);
            files_.free(place.file, begin, end);
        } else {
            files_.remove(place.file);
        }
}

}  // namespace cachalot
