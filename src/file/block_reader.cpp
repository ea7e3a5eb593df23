#include "file/block_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/error.h"

namespace cachalot {
namespace {

constexpr int kAttempts = 16;  // without progress, or interrupted

// Another descriptor of the same file, though it may have been renamed since, that passes the page cache by. -1 if that
// cannot be had.
int open_direct([[maybe_unused]] const MappedFile& file) {
#if defined(__linux__)
    return ::open(fmt::format("/proc/self/fd/{}", file.descriptor()).c_str(),
                  O_RDONLY | O_CLOEXEC | O_DIRECT);
#else
    return -1;
#endif
}

}  // namespace

BlockReader::BlockReader(std::span<const MappedFile> files, std::unique_ptr<ReadQueue> queue)
    : queue_(std::move(queue)) {
    for (const auto& file : files) sources_.push_back({&file, open_direct(file)});
}

BlockReader::~BlockReader() {
    try {
        while (next(true)) {
        }
    } catch (...) {  // the queue itself has failed
    }
    queue_.reset();
    for (const auto& source : sources_)
        if (source.direct >= 0) ::close(source.direct);
}

bool BlockReader::direct() const {
    return std::all_of(sources_.begin(), sources_.end(), [](const Source& s) { return s.direct >= 0; });
}

QueuedRead BlockReader::queued(std::size_t piece) const {
    const Piece& p = pieces_[piece];
    const Source& source = sources_[p.file];
    return {p.direct ? source.direct : source.file->descriptor(), p.offset, p.size, p.to, piece};
}

void BlockReader::submit(std::uint64_t job, std::span<const Run> runs) {
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
                              sources_[run.file].direct >= 0};
            reads.push_back(queued(piece));
            ++entry->second.pieces;
        }
    }
    queue_->submit(reads);
}

std::optional<BlockReader::Finished> BlockReader::next(bool wait) {
    while (auto read = queue_->next(wait)) {
        const std::size_t piece = static_cast<std::size_t>(read->id);
        if (!settle(piece, read->result)) continue;
        const auto job = jobs_.find(pieces_[piece].job);
        free_.push_back(piece);
        if (--job->second.pieces > 0) continue;
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
