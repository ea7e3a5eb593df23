// A GGUF file with any record of the release that it was made from: the release is written, inside its
// folder, or an Error is thrown.
//
// Input: which entry of the record is changed, and the name of the last one; then places in the entry's text
// and what is written there. Or, if the second byte is odd, all of the text.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "file/gguf.h"
#include "file/gguf_writer.h"
#include "input.h"
#include "model/convert.h"
#include "model/gguf_checkpoint.h"
#include "model/release_record.h"
#include "model/synthetic_release.h"

using namespace cachalot;

namespace {

constexpr const char* kFiles = "cachalot.release.files";
constexpr const char* kContents = "cachalot.release.contents";
constexpr std::size_t kRoom = 400;  // blanks behind every text

// A model whose record can be changed in its place in the file.
struct Model {
    fuzz::Folder folder;
    std::filesystem::path path = folder.path() / "m.gguf";
    std::vector<char> head;  // all of the file before the tensors
    std::size_t last_name = 0;
    struct Text {
        std::size_t at, size;
    };
    std::vector<Text> texts;

    Model() {
        Config config = known_config("tiny");
        set_layers(config, 2);
        config.experts = 2;
        config.experts_per_token = 1;
        const auto release = folder.path() / "release", lossless = folder.path() / "lossless.gguf";
        write_synthetic_release(config, 7, release, {}, 1 << 30);
        ConvertOptions options;
        options.types.dense = DType::f8_e4m3;
        options.threads = 1;
        convert(*Checkpoint::open(release), lossless, options);
        write_with_room(Gguf(lossless));
        find_places();
    }

  private:
    void write_with_room(const Gguf& from) {
        const auto views = *from.metadata().find<std::vector<std::string_view>>(kFiles);
        const auto texts_of = *from.metadata().find<std::vector<std::string_view>>(kContents);
        std::vector<std::string> names(views.begin(), views.end()),
            contents(texts_of.begin(), texts_of.end());
        for (auto& text : contents) text.append(kRoom, ' ');
        names.push_back("#LAST-NAME#");
        contents.push_back(std::string(kRoom, ' '));
        GgufWriter writer(path);
        for (const auto& value : from.metadata().values())
            if (!GgufWriter::is_container_key(value.key) && value.key != kFiles && value.key != kContents)
                writer.copy(value);
        writer.set_strings(kFiles, names);
        writer.set_strings(kContents, contents);
        for (const auto& t : from.tensors()) writer.declare(t.view.name, t.view.dtype, t.view.shape);
        for (const auto& t : from.tensors()) writer.append(t.view.name, t.view.data);
        writer.finish();
    }
    void find_places() {
        const Gguf file(path);
        const auto bytes = file.files()[0].bytes();
        const auto* begin = reinterpret_cast<const char*>(bytes.data());
        const auto contents = *file.metadata().find<std::vector<std::string_view>>(kContents);
        for (const auto text : contents)
            texts.push_back({static_cast<std::size_t>(text.data() - begin), text.size()});
        const auto names = *file.metadata().find<std::vector<std::string_view>>(kFiles);
        last_name = static_cast<std::size_t>(names.back().data() - begin);
        head.assign(begin, begin + texts.back().at + texts.back().size);
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Model made;
    static const int file = ::open(made.path.c_str(), O_RDWR | O_CLOEXEC);
    fuzz::Input input(data, size);
    const auto text = made.texts[input.number<std::uint8_t>() % made.texts.size()];
    const bool all = input.number<std::uint8_t>() % 2;
    auto head = made.head;
    const auto name = input.take(11);
    std::memcpy(&head[made.last_name], name.data(), name.size());
    if (all) {
        const auto bytes = input.take(text.size);
        std::fill_n(&head[text.at], text.size, ' ');
        std::memcpy(&head[text.at], bytes.data(), bytes.size());
    }
    while (!input.empty()) {
        const auto at = input.number<std::uint32_t>() % (text.size - 16);
        const auto piece = input.take(1 + input.number<std::uint8_t>() % 16);
        std::memcpy(&head[text.at + at], piece.data(), piece.size());
    }
    CACHALOT_CHECK(::pwrite(file, head.data(), head.size(), 0) == std::ssize(head));
    const auto out = made.folder.path() / "out", target = out / "release";
    std::filesystem::create_directory(out);
    const bool failed = fuzz::refused([&] { write_release(GgufCheckpoint(made.path), target); });
    CACHALOT_CHECK(std::filesystem::exists(target) == !failed);
    for (const auto& entry : std::filesystem::directory_iterator(out))
        CACHALOT_CHECK(entry.path() == target || entry.path() == target.string() + ".partial");
    for (const auto& entry : std::filesystem::directory_iterator(made.folder.path())) {
        const auto known = entry.path().filename().string();
        CACHALOT_CHECK(known == "release" || known == "lossless.gguf" || known == "m.gguf" || known == "out");
    }
    std::filesystem::remove_all(out);
    return 0;
}
