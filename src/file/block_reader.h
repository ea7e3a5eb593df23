// Reads runs of bytes of files straight from the disk into memory, many at a time.
//
// The page cache is passed by (O_DIRECT) where the file system allows it: who keeps a cache of his own does
// not want everything twice in memory, and a copy less leaves the processor to compute. What the disk then
// asks for is that offsets, sizes and addresses are multiples of a block, so a run is read with the whole
// blocks that it begins and ends in.
//
// Runs are read as jobs of several, each run cut into pieces that are under way together, which is what it
// takes to get the whole speed of an SSD. A piece that comes back short is asked for again; a job of which
// anything cannot be read is reported with an error when all its pieces have come back, so that nothing is
// written to its memory any more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/unique_fd.h"
#include "file/mapped_file.h"
#include "file/read_queue.h"

namespace cachalot {

class BlockReader {
  public:
    static constexpr std::uint64_t kBlock = 4096;
    static constexpr std::uint64_t kPiece = std::uint64_t(2) << 20;

    // Bytes [begin, begin + size) of a file, and the blocks around them.
    struct Run {
        std::size_t file = 0;
        std::uint64_t begin = 0, size = 0;
        std::byte* to = nullptr;  // of the first block; a multiple of kBlock, with room for read_bytes()

        std::uint64_t first_block() const { return begin / kBlock * kBlock; }
        std::uint64_t read_bytes() const {
            return (begin + size + kBlock - 1) / kBlock * kBlock - first_block();
        }
    };

    struct Finished {
        std::uint64_t job = 0;
        std::size_t run = 0;  // that could not be read
        std::string error;    // "FILE: cannot read ..."; empty: all is there
    };

    // The files, and the memory that jobs read into, must outlive the reader.
    BlockReader(std::span<const MappedFile* const> files, std::unique_ptr<ReadQueue> queue);
    ~BlockReader();  // waits for what is under way; what has not begun does not begin any more
    BlockReader(const BlockReader&) = delete;
    BlockReader& operator=(const BlockReader&) = delete;

    // `job` must not be under way already. If it throws (see ReadQueue::submit), the job is not under way.
    void submit(std::uint64_t job, std::span<const Run> runs, ReadClass urgency = ReadClass::demand);

    // What of a job has not begun becomes as urgent as this.
    void raise(std::uint64_t job, ReadClass urgency);

    // Takes a job back of which nothing has begun. False if it is too late: then it goes on and finishes as
    // any other.
    bool withdraw(std::uint64_t job);

    // A job that is finished; with `wait` the next one that will be. None if there is none.
    std::optional<Finished> next(bool wait);

    std::size_t under_way() const { return jobs_.size(); }
    const char* method() const { return queue_->name(); }
    bool direct() const;  // the page cache is passed by, for all files

  private:
    struct Source {
        const MappedFile* file;
        UniqueFd direct;  // none: not possible
    };
    struct Piece {
        std::uint64_t job;
        std::size_t run, file;
        std::uint64_t offset;
        std::size_t size, needed;  // to be asked for; of it are inside of the file
        std::byte* to;
        int attempts;
        bool direct;
        ReadClass urgency;
    };
    struct Job {
        std::vector<std::size_t> pieces;  // all of it, while the job is under way
        std::size_t left = 0;             // that have not come back
        std::size_t run = 0;
        std::string error;
    };

    QueuedRead queued(std::size_t piece) const;
    // Whether the piece is done with; otherwise it has been asked for again.
    bool settle(std::size_t piece, std::int64_t result);

    std::vector<Source> sources_;
    std::unique_ptr<ReadQueue> queue_;  // after sources_, whose descriptors it reads
    std::vector<Piece> pieces_;
    std::vector<std::size_t> free_;  // of pieces_
    std::unordered_map<std::uint64_t, Job> jobs_;
};

}  // namespace cachalot
