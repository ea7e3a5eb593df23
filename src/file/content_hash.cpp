#include "file/content_hash.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "file/output_file.h"

namespace cachalot {
namespace {

constexpr std::size_t kPiece = std::size_t(4) << 20;
constexpr std::int64_t kSlowestTick = 2'000'000'000;  // nanoseconds; FAT's

// One line: what the hash is of, the hash, and the hash of all that.
std::string line_of(const FileStamp& s, const Hash128& hash) {
    const auto text =
        fmt::format("1 {} {} {} {} {} {} ", s.device, s.inode, s.size, s.modified, s.changed, hex(hash));
    return text + hex(hash128(std::as_bytes(std::span(text)))) + "\n";
}

Hash128 from_hex(std::string_view text) {
    Hash128 hash{};
    auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    for (std::size_t i = 0; i < hash.size(); ++i)
        hash[i] = static_cast<std::byte>(digit(text[2 * i]) * 16 + digit(text[2 * i + 1]));
    return hash;
}

}  // namespace

std::optional<Hash128> content_hash(const MappedFile& file, const std::function<bool(std::uint64_t)>& go_on) {
    Hasher128 hasher;
    std::vector<std::byte> piece(std::min(kPiece, std::max<std::size_t>(file.size(), 1)));
    std::uint64_t done = 0;
    while (true) {
        const auto got = ::pread(file.descriptor(), piece.data(), piece.size(), static_cast<off_t>(done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            fail("{}: cannot read at byte {}: {}", file.path(), done, std::generic_category().message(errno));
        if (got == 0) return hasher.hash();
        hasher.add(std::span(piece).first(static_cast<std::size_t>(got)));
        done += static_cast<std::uint64_t>(got);
        if (go_on && !go_on(done)) return std::nullopt;
    }
}

std::filesystem::path KeptHashes::path_of(const FileStamp& stamp) const {
    return folder_ / fmt::format("{:x}-{:x}", stamp.device, stamp.inode);
}

std::optional<Hash128> KeptHashes::find(const FileStamp& stamp) const {
    if (folder_.empty()) return std::nullopt;
    std::ifstream file(path_of(stamp), std::ios::binary);
    std::string line(256, '\0');
    file.read(line.data(), static_cast<std::streamsize>(line.size()));
    line.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
    // The hash stands before the last word; the line is right only if it is what would be written now.
    constexpr std::size_t kDigits = 32, kEnd = 2 * kDigits + 2;
    if (line.size() < kEnd) return std::nullopt;
    const auto hash = from_hex(std::string_view(line).substr(line.size() - kEnd, kDigits));
    return line == line_of(stamp, hash) ? std::optional(hash) : std::nullopt;
}

void KeptHashes::keep(const FileStamp& stamp, const Hash128& hash, std::int64_t begun) const {
    if (folder_.empty() || begun < std::max(stamp.modified, stamp.changed) + kSlowestTick) return;
    try {
        std::error_code ignored;
        std::filesystem::create_directories(folder_, ignored);
        const auto line = line_of(stamp, hash);
        OutputFile file(path_of(stamp));
        file.write(std::as_bytes(std::span(line)));
        file.commit();
    } catch (const Error& e) {
        log_.often(LogLevel::warn, "the hash of a file is not kept; it will be read again to be known",
                   {{"error", e.what()}});
    }
}

}  // namespace cachalot
