// A page file with any bytes, and an index that points anywhere into it: what is read is a record that was
// written, byte for byte, or nothing.
//
// Input: records to be written; what is changed in the file, and how long it is; places to read from.
#include <fcntl.h>

#include <algorithm>
#include <fstream>

#include "input.h"
#include "prefix/page_files.h"

using namespace cachalot;

namespace {

struct Record {
    Place place;
    ChainKey name;
    std::vector<std::byte> payload;
};

ChainKey key(fuzz::Input& input) { return hash128(input.take(1)); }

std::vector<std::byte> read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<std::byte> bytes(std::filesystem::file_size(path));
    file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return bytes;
}

void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const fuzz::Folder folder;
    static FileCalls calls;
    fuzz::Input input(data, size);
    PageFiles files(folder.path(), calls, 500);
    files.keep_only({});
    std::vector<Record> records;
    for (auto count = input.between(1, 5); count > 0; --count) {
        Record r{{}, key(input), input.filled(static_cast<std::size_t>(input.between(0, 300)))};
        r.place = files.append(r.name, r.payload);
        files.sync();
        records.push_back(std::move(r));
    }
    auto read = [&](const Place& place, const ChainKey& name, std::size_t bytes) {
        std::vector<std::byte> payload(bytes);
        if (!files.read(place, name, payload).empty()) return false;
        const bool written = std::ranges::any_of(
            records, [&](const Record& r) { return r.name == name && r.payload == payload; });
        CACHALOT_CHECK(written);
        return true;
    };
    for (const auto& r : records) CACHALOT_CHECK(read(r.place, r.name, r.payload.size()));
    auto bytes = read_file(files.path(1));
    for (auto count = input.between(0, 4); count > 0 && !bytes.empty(); --count)
        bytes[static_cast<std::size_t>(input.between(0, 999)) % bytes.size()] ^= input.number<std::byte>();
    bytes.resize(std::min(bytes.size(), static_cast<std::size_t>(input.between(0, 2000))));
    write_file(files.path(1), bytes);
    for (const auto& r : records) (void)read(r.place, r.name, r.payload.size());
    while (!input.empty()) {
        const Record& r = records[static_cast<std::size_t>(input.between(0, 99)) % records.size()];
        Place place{input.number<std::int8_t>(), input.number<std::int64_t>(), 0};
        if (input.number<std::uint8_t>() % 2) place.offset %= 1000;
        place.size = input.number<std::uint8_t>() % 2 ? input.number<std::int64_t>()
                                                      : PageFiles::kHeader + std::ssize(r.payload);
        (void)read(place, r.name, r.payload.size());
    }
    return 0;
}
