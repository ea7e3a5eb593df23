// A pack of experts of which anything in the header, or its size, is changed is refused; one that is taken is
// as it was made.
//
// Input: the size of the file, then places of the header and what is written there.
#include <fcntl.h>
#include <unistd.h>

#include "input.h"
#include "model/expert_pack.h"
#include "model/synthetic.h"

using namespace cachalot;

namespace {

struct Packed {
    fuzz::Folder folder;
    std::shared_ptr<const Model> model;
    std::filesystem::path path = folder.path() / "pack";
    std::vector<std::byte> header;
    std::int64_t size = 0;

    Packed() {
        Config config = known_config("tiny");
        write_synthetic(config, {}, folder.path() / "m.gguf");
        model = Model::load(folder.path() / "m.gguf");
        write_pack(*model, path);
        const ExpertPack pack(*model, path);
        const auto bytes = pack.file().bytes().first(static_cast<std::size_t>(pack.layout().header_bytes));
        header.assign(bytes.begin(), bytes.end());
        size = static_cast<std::int64_t>(pack.layout().file_bytes);
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Packed made;
    static const int file = ::open(made.path.c_str(), O_RDWR | O_CLOEXEC);
    fuzz::Input input(data, size);
    std::int64_t bytes = made.size;
    if (const auto shorter = input.number<std::uint32_t>(); shorter % 2) bytes = shorter % (2 * made.size);
    auto header = made.header;
    while (!input.empty()) {
        const auto at = input.number<std::uint16_t>() % header.size();
        const auto piece = input.take(8);
        std::memcpy(&header[at], piece.data(), std::min(piece.size(), header.size() - at));
    }
    CACHALOT_CHECK(::pwrite(file, header.data(), header.size(), 0) == std::ssize(header));
    CACHALOT_CHECK(::ftruncate(file, bytes) == 0);
    const bool same = header == made.header && bytes == made.size;
    CACHALOT_CHECK(fuzz::refused([&] { ExpertPack pack(*made.model, made.path); }) == !same);
    return 0;
}
