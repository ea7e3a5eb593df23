#include "file/block_reader.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/error.h"

namespace cachalot {
namespace {

constexpr int kAttempts = 16;  // without progress, or interrupted

// Another descriptor of the same file, though it may have been renamed since, that passes the page cache by.
// None if that cannot be had.
UniqueFd open_direct([[maybe_unused]] const MappedFile& file) {
#if defined(__linux__)
    return UniqueFd(
        ::open(fmt::format("/proc/self/fd/{}", file.descriptor()).c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
#else
    return {};
#endif
}

}  // namespace

BlockReader::BlockReader(std::span<const MappedFile* const> files, std::unique_ptr<ReadQueue> queue)
    : queue_(std::move(queue)) {
    for (const auto* file : files) sources_.push_back({file, open_direct(*file)});
}

BlockReader::~BlockReader() {
    try {
        std::vector<std::uint64_t> all;
        for (const auto& [job, unused] : jobs_) all.push_back(job);
        for (const auto job : all) withdraw(job);
        while (next(true)) {
        }
    } catch (...) {  // the queue itself has failed
    }
}

bool BlockReader::direct() const {
    return std::all_of(sources_.begin(), sources_.end(), [](const Source& s) { return bool(s.direct); });
}

QueuedRead BlockReader::queued(std::size_t piece) const {
    const Piece& p = pieces_[piece];
    const Source& source = sources_[p.file];
    return {
        p.direct ? source.direct.get() : source.file->descriptor(), p.offset, p.size, p.to, piece, p.urgency};
}

void BlockReader::submit(std::uint64_t job, std::span<const Run> runs, ReadClass urgency) {
    const auto [entry, is_new] = jobs_.try_emplace(job);
    CACHALOT_CHECK(is_new && !runs.empty());
    std::vector<QueuedRead> reads;
    for (std::size_t r = 0; r < runs.size(); ++r) {
        const Run& run = runs[r];
        CACHALOT_CHECK(run.size > 0);
        const std::uint64_t first = run.first_block(), all = run.read_bytes(),
                            needed = run.begin + run.size - first;
        for (std::uint64_t at = 0; at < all; at += kPiece) {
            if (free_.empty()) {
                free_.push_back(pieces_.size());
                pieces_.emplace_back();
            }
            const std::size_t piece = free_.back();
            free_.pop_back();
            pieces_[piece] = {job,
                              r,
                              run.file,
                              first + at,
                              static_cast<std::size_t>(std::min(kPiece, all - at)),
                              static_cast<std::size_t>(std::min(kPiece, needed - at)),
                              run.to + at,
                              0,
                              bool(sources_[run.file].direct),
                              urgency};
            reads.push_back(queued(piece));
            entry->second.pieces.push_back(piece);
        }
    }
    entry->second.left = reads.size();
    try {
        queue_->submit(reads);
    } catch (...) {
        free_.insert(free_.end(), entry->second.pieces.begin(), entry->second.pieces.end());
        jobs_.erase(entry);
        throw;
    }
}

void BlockReader::raise(std::uint64_t job, ReadClass urgency) {
    std::vector<QueuedRead> again;
    for (const std::size_t piece : jobs_.at(job).pieces) {
        Piece& p = pieces_[piece];
        if (p.urgency <= urgency) continue;
        const bool waiting = queue_->withdraw(piece, p.urgency);
        p.urgency = urgency;  // should it come back short
        if (waiting) again.push_back(queued(piece));
    }
    if (!again.empty()) queue_->submit(again);
}

bool BlockReader::withdraw(std::uint64_t job) {
    const auto entry = jobs_.find(job);
    CACHALOT_CHECK(entry != jobs_.end());
    std::vector<QueuedRead> back;
    // Pieces begin in order, so that the first one tells.
    const auto& pieces = entry->second.pieces;
    bool all = entry->second.left == pieces.size();
    for (std::size_t i = 0; all && i < pieces.size(); ++i) {
        all = queue_->withdraw(pieces[i], pieces_[pieces[i]].urgency);
        if (all) back.push_back(queued(pieces[i]));
    }
    if (all) {
        free_.insert(free_.end(), pieces.begin(), pieces.end());
        jobs_.erase(entry);
    } else if (!back.empty()) {
        queue_->submit(back);
    }
    return all;
}

std::optional<BlockReader::Finished> BlockReader::next(bool wait) {
    while (auto read = queue_->next(wait)) {
        const std::size_t piece = static_cast<std::size_t>(read->id);
        if (!settle(piece, read->result)) continue;
        const auto job = jobs_.find(pieces_[piece].job);
        if (--job->second.left > 0) continue;
        free_.insert(free_.end(), job->second.pieces.begin(), job->second.pieces.end());
        Finished finished{job->first, job->second.run, std::move(job->second.error)};
        jobs_.erase(job);
        return finished;
    }
    return {};
}

bool BlockReader::settle(std::size_t piece, std::int64_t result) {
    Piece& p = pieces_[piece];
    Job& job = jobs_.at(p.job);
    auto broken = [&](const std::string& reason) {
        if (job.error.empty()) {
            job.run = p.run;
            job.error = fmt::format("{}: cannot read {} bytes at offset {}: {}",
                                    sources_[p.file].file->path(), p.needed, p.offset, reason);
        }
        return true;
    };
    if (result >= static_cast<std::int64_t>(p.needed)) return true;
    if (result == -EINVAL && p.direct) {
        p.direct = false;  // the disk's blocks are larger than ours
    } else if (result == -EINTR || result == -EAGAIN) {
        if (++p.attempts > kAttempts) return broken("interrupted too often");
    } else if (result < 0) {
        return broken(std::generic_category().message(static_cast<int>(-result)));
    } else {  // go on at the last whole block
        try {
            sources_[p.file].file->check_not_truncated();
        } catch (const Error& truncated) {
            return broken(truncated.what());
        }
        const std::size_t done = static_cast<std::size_t>(result) / kBlock * kBlock;
        if (done == 0 && ++p.attempts > kAttempts)
            return broken(fmt::format("only {} bytes are delivered", result));
        p.offset += done;
        p.to += done;
        p.size -= done;
        p.needed -= done;
    }
    const QueuedRead again = queued(piece);
    queue_->submit({&again, 1});
    return false;
}

}  // namespace cachalot
