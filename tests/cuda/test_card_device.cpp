// Memory and streams of a card.
#include "base/error.h"
#include "base/out_of_memory.h"
#include "cuda/card.h"
#include "device/cuda_graph.h"

namespace cachalot {
namespace {

using test::card;
using test::card_stream;
using test::OnCard;

// Needs no card.
TEST(CudaDevice, ACardThatIsNotThereIsRefusedByName) {
    const auto found = cuda_cards();
    EXPECT_EQ(found.cards.empty(), !found.problem.empty());
    try {
        make_cuda_device(99);
        ADD_FAILURE() << "there is no such card";
    } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find("cuda:99"), std::string::npos) << e.what();
    }
    EXPECT_EQ(card_of(*make_host_device()), nullptr);
}

TEST(CudaDevice, BytesAreCopiedAndCleared) {
    CACHALOT_NEEDS_CARD();
    const std::vector<std::uint8_t> values = {1, 2, 3, 4, 5};
    const OnCard<std::uint8_t> there(values);
    EXPECT_EQ(there.fetch(), values);
    card_stream().zero(reinterpret_cast<std::byte*>(there.address()) + 1, 3);
    EXPECT_EQ(there.fetch(), (std::vector<std::uint8_t>{1, 0, 0, 0, 5}));
    EXPECT_FALSE(card()->shares_memory());
    ASSERT_NE(card_of(*card()), nullptr);
    EXPECT_GT(card_of(*card())->multiprocessors, 0);
}

TEST(CudaDevice, WorksRunInOrderAndTheirErrorsAreThrownLater) {
    CACHALOT_NEEDS_CARD();
    auto stream = card()->make_stream(), other = card()->make_stream();
    std::vector<int> order;
    stream->run([&] { order.push_back(1); });
    const auto event = stream->record();
    other->wait(event);
    other->run([&] { order.push_back(2); });
    other->synchronize();
    event->synchronize();
    EXPECT_EQ(order, (std::vector<int>{1, 2}));

    stream->run([] { fail("it went wrong"); });
    stream->run([&] { order.push_back(3); });
    EXPECT_THROW(stream->synchronize(), Error);
    EXPECT_EQ(order.size(), 2u);
    stream->run([&] { order.push_back(4); });
    stream->synchronize();
    EXPECT_EQ(order.back(), 4);
}

TEST(CudaDevice, MemoryThatThereIsNotIsSaid) {
    CACHALOT_NEEDS_CARD();
    const auto free = card()->free_memory();
    ASSERT_TRUE(free);
    EXPECT_THROW(card()->allocate(std::size_t{1} << 50, Device::Memory::device), OutOfMemory);
    Buffer<std::byte> some(card());  // and nothing is lost
    EXPECT_NE(some.reserve(1000), nullptr);
}

TEST(CudaDevice, ReleasedMemoryIsCountedAsFree) {
    CACHALOT_NEEDS_CARD();
    const auto bytes = std::size_t{1} << 30;
    const auto before = *card()->free_memory();
    std::byte* memory = card()->allocate(bytes, Device::Memory::device);
    EXPECT_LE(*card()->free_memory() + bytes, before + (std::size_t{64} << 20));
    card()->release(memory, bytes, Device::Memory::device);
    EXPECT_GE(*card()->free_memory() + (std::size_t{64} << 20), before);
}

TEST(CudaGraph, IsReplayedWithWhatIsInMemoryThen) {
    CACHALOT_NEEDS_CARD();
    const OnCard<int> from(std::vector<int>{7}), to(std::vector<int>{0});
    const auto bytes = [](const OnCard<int>& b) { return reinterpret_cast<std::byte*>(b.address()); };
    const CudaGraph graph(card_stream(), [&] { card_stream().copy(bytes(to), bytes(from), sizeof(int)); });
    EXPECT_EQ(graph.nodes(), 1u);
    EXPECT_EQ(to.fetch()[0], 0);  // recording runs nothing
    graph.launch(card_stream());
    EXPECT_EQ(to.fetch()[0], 7);
    const int next = 8;
    card_stream().copy(bytes(from), reinterpret_cast<const std::byte*>(&next), sizeof next);
    graph.launch(card_stream());
    EXPECT_EQ(to.fetch()[0], 8);
    EXPECT_THROW(CudaGraph(card_stream(), [] { fail("no"); }), Error);
    graph.launch(card_stream());  // the stream is as it was
    card_stream().synchronize();
}

}  // namespace
}  // namespace cachalot
