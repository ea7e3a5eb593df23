// Any bytes must be a file of expert rates, which is the same when it is written again, or an Error. Of most
// inputs the head and the hash are fitted, so that what is between is reached.
//
// Input: a byte; if it is even the rest is the file, else what comes between.
#include <cmath>
#include <cstring>
#include <fstream>

#include "experts/expert_heat.h"
#include "input.h"

using namespace cachalot;

namespace {

constexpr int kLayers = 2, kExperts = 8;

std::vector<std::byte> fitted(std::span<const std::byte> middle) {
    std::vector<std::byte> file(8 + 16);
    std::memcpy(file.data(), "CCHEAT01", 8);
    const std::uint32_t numbers[] = {kLayers, kExperts};
    const auto shape = std::as_bytes(std::span(numbers));
    file.insert(file.end(), shape.begin(), shape.end());
    file.insert(file.end(), middle.begin(), middle.end());
    const auto hash = hash128(file);
    file.insert(file.end(), hash.begin(), hash.end());
    return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const fuzz::Folder folder;
    static const auto path = folder.path() / "heat";
    fuzz::Input input(data, size);
    const bool whole = input.number<std::uint8_t>() % 2 == 0;
    const auto bytes = input.rest();
    const auto file = whole ? std::vector(bytes.begin(), bytes.end()) : fitted(bytes);
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
    ExpertHeat heat(kLayers, kExperts, {});
    if (fuzz::refused([&] { heat.load(path); })) {
        CACHALOT_CHECK(heat.tokens() == 0 && heat.hottest().empty());
        return 0;
    }
    double last = 2;
    for (const auto key : heat.hottest()) {
        CACHALOT_CHECK(heat.rate(key) > 0 && heat.rate(key) <= last);
        last = heat.rate(key);
    }
    heat.save(path);
    ExpertHeat again(kLayers, kExperts, {});
    again.load(path);
    for (ExpertKey key = 0; key < kLayers * kExperts; ++key)
        CACHALOT_CHECK(std::abs(again.rate(key) - heat.rate(key)) <= 1e-6 * heat.rate(key));
    heat.begin_pass(1);
    heat.count(0, 1);
    CACHALOT_CHECK(heat.rate(0) > 0);
    return 0;
}
