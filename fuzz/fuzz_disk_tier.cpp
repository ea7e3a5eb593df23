// A folder of prefixes that somebody has changed while nobody used it: what it gives is the state of those
// tokens, and what is stored afterwards is there.
//
// Input: a byte that chooses between page file and index; how long it is afterwards, and then places and
// changes.
#include <fstream>

#include "input.h"
#include "prefix/disk_tier.h"
#include "support/small_states.h"

using namespace cachalot;

namespace {

using Tokens = std::vector<std::int32_t>;

Tokens conversation(std::size_t n) {
    Tokens tokens(n);
    for (std::size_t i = 0; i < n; ++i) tokens[i] = static_cast<std::int32_t>(i * i % 251);
    return tokens;
}

DiskTierOptions options(const std::filesystem::path& folder) {
    DiskTierOptions result;
    result.folder = folder;
    return result;
}

// How many of the tokens are known, which must be right.
std::int64_t known(DiskTier& tier, const Tokens& tokens) {
    const auto length = tier.find("", tokens);
    if (length == 0) return 0;
    const auto read = tier.fetch("", tokens, length, nullptr);
    while (read && !read->done()) tier.wait(std::chrono::seconds(1));
    const auto state = read ? read->take() : std::nullopt;
    if (!state) return 0;
    CACHALOT_CHECK(state->length == length);
    const Tokens beginning(tokens.begin(), tokens.begin() + length);
    CACHALOT_CHECK(test::same(*state, test::state_of(beginning).checkpoint()));
    return length;
}

void change(const std::filesystem::path& path, fuzz::Input& input) {
    const auto size = static_cast<std::int64_t>(std::filesystem::file_size(path));
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    const auto shorter = input.between(0, 40'000);
    while (!input.empty()) {
        file.seekp(input.number<std::uint16_t>() % std::max<std::int64_t>(size, 1));
        file.put(static_cast<char>(input.number<std::uint8_t>()));
    }
    file.close();
    if (shorter < 20'000)
        std::filesystem::resize_file(path, static_cast<std::uintmax_t>(shorter * size / 20'000));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const fuzz::Folder folder;
    static const Tokens tokens = conversation(700);
    static const auto made = [] {  // what every input starts from
        auto path = folder.path() / "made";
        DiskTier tier(options(path), test::small_pool());
        for (std::size_t n : {300u, 700u})
            tier.store("", std::span(tokens).first(n),
                       test::state_of(std::span(tokens).first(n)).checkpoint());
        tier.flush();
        CACHALOT_CHECK(known(tier, tokens) == 700);
        return path;
    }();
    const auto path = folder.path() / "changed";
    std::filesystem::remove_all(path);
    std::filesystem::copy(made, path);
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    fuzz::Input input(data, size);
    const bool pages = input.number<std::uint8_t>() % 2 == 0;
    change(path / (pages ? "pages-000001" : "index.db"), input);
    std::optional<DiskTier> tier;
    if (fuzz::refused([&] { tier.emplace(options(path), test::small_pool()); })) return 0;
    (void)known(*tier, tokens);
    (void)known(*tier, tokens);  // a record that is no good has been forgotten
    tier->flush();
    const auto other = std::span(tokens).subspan(1, 400);
    tier->store("", other, test::state_of(other).checkpoint());
    tier->flush();
    if (pages) CACHALOT_CHECK(known(*tier, Tokens(other.begin(), other.end())) == 400);
    return 0;
}
