// Writes to a GGUF file in a thread of its own, so that computing and writing take place at the same time.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "file/gguf_writer.h"

namespace cachalot {

class BackgroundWriter {
  public:
    // A checkpoint of the file is made after every `checkpoint_bytes`.
    BackgroundWriter(GgufWriter& writer, std::uint64_t checkpoint_bytes);
    // Gives up what has not been written.
    ~BackgroundWriter();
    BackgroundWriter(const BackgroundWriter&) = delete;
    BackgroundWriter& operator=(const BackgroundWriter&) = delete;

    // An empty buffer, one that was used before if there is one. Waits while kPieces of them are on their
    // way. Throws what writing has thrown.
    std::vector<std::byte> buffer();
    // The next bytes of the tensor.
    void append(const std::string& name, std::vector<std::byte> bytes);
    // Waits until everything is written; throws likewise.
    void drain();

  private:
    static constexpr std::size_t kPieces = 3;
    struct Piece {
        std::string name;
        std::vector<std::byte> bytes;
    };
    void run();
    void rethrow();

    GgufWriter& writer_;
    const std::uint64_t checkpoint_bytes_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Piece> pieces_;  // to be written; the first may be under way
    std::vector<std::vector<std::byte>> spare_;
    std::exception_ptr error_;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace cachalot
