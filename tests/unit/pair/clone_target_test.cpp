// A Secondary takes a clone as it was sent, and holds the Primary to what it announces.
#include "pair/clone_target.h"

#include <unistd.h>

#include <fstream>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

#include "support.h"

namespace ftvmm::pair {
namespace {

using namespace clone_message;
using Catch::Matchers::Contains;
using ftlink::FrameKind;
using ftlink::OutgoingFrame;
using ftlink::testing::bytes_of_text;
using replay::Seq;

// More than a chunk, and no whole number of them.
constexpr std::uint64_t kPages = machine::kChunkPages + 16;

CloneTarget target_of(std::uint64_t memory_bytes) {
    machine::MachineConfig config;
    config.memory_bytes = memory_bytes;
    return CloneTarget::create(config, "vm").value();
}

Result<void> give(CloneTarget& target, const OutgoingFrame& frame) {
    return target.step({static_cast<FrameKind>(frame.header[2]), frame.payload});
}

OutgoingFrame frame_of(const CloneMessage& message) {
    return make_frame(message);
}

OutgoingFrame state_of(std::string_view text) {
    return make_state_frame(bytes_of_text(text));
}

// All pages of the chunk from `first` on, as the guest's memory has them.
OutgoingFrame pages_from(std::uint64_t first) {
    machine::ChunkCodec codec;
    return make_frame(
        codec.pack(std::vector<std::byte>(kPages * kPageBytes, std::byte{1}), first).value());
}

// Of what comes last, behind frames that are taken.
std::string error_of(std::initializer_list<OutgoingFrame> frames) {
    CloneTarget target = target_of(kPages * kPageBytes);
    const auto* const last = frames.end() - 1;
    for (const auto* frame = frames.begin(); frame != last; ++frame)
        REQUIRE(give(target, *frame));
    const bool was_whole = target.is_whole();
    const auto taken = give(target, *last);
    CHECK(target.is_whole() == was_whole);
    return ftlink::testing::error_of(taken);
}

OutgoingFrame beginning() {
    return frame_of(Begins{kPages});
}

struct Memory {
    std::uint64_t mapped = 0;
    std::uint64_t resident = 0;
};
// Of this process, in bytes: /proc/PID/statm.
Memory memory_now() {
    std::ifstream statm("/proc/self/statm");
    Memory memory;
    statm >> memory.mapped >> memory.resident;
    REQUIRE(statm);
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    return {memory.mapped * page, memory.resident * page};
}

}  // namespace

TEST_CASE("A clone is whole with its end, and says how far it has come until then") {
    CloneTarget target = target_of(kPages * kPageBytes);
    for (const auto& frame :
         {beginning(), frame_of(Round{1, kPages}), pages_from(0), pages_from(machine::kChunkPages),
          frame_of(Round{2, 16}), pages_from(machine::kChunkPages), state_of("message"),
          state_of("bu"), state_of("lk")}) {
        REQUIRE(give(target, frame));
        CHECK_FALSE(target.is_whole());
    }
    CHECK(target.pages() == kPages + 16);
    CHECK(target.round() == Round{2, 16});
    REQUIRE(give(target, frame_of(Ends{7, 4, kPages + 16, Seq(812)})));
    CHECK(target.is_whole());
}

TEST_CASE("A clone that does not begin with its beginning is none") {
    const auto why = Contains("does not begin with its beginning");
    CHECK_THAT(error_of({pages_from(0)}), why);
    CHECK_THAT(error_of({state_of("state")}), why);
    CHECK_THAT(error_of({frame_of(Round{1, kPages})}), why);
    CHECK_THAT(error_of({frame_of(Ends{})}), why);
    CHECK_THAT(error_of({frame_of(Protected{})}), why);
}

TEST_CASE("A clone begins once") {
    CHECK_THAT(error_of({beginning(), beginning()}), Contains("begins twice"));
}

TEST_CASE("A guest with another memory is not taken") {
    CHECK_THAT(error_of({frame_of(Begins{kPages + 1})}),
               Contains("273 pages of memory on the Primary and 272 here"));
    CHECK_THAT(error_of({frame_of(Begins{kPages - 1})}), Contains("271 pages"));
}

TEST_CASE("Nothing comes behind the end of a clone") {
    const auto ends = frame_of(Ends{0, 0, 0, Seq(1)});
    for (const auto& late : {beginning(), pages_from(0), state_of("x"), ends})
        CHECK_THAT(error_of({beginning(), ends, late}), Contains("goes on behind its end"));
}

TEST_CASE("What has no place in a clone ends it") {
    CHECK_THAT(error_of({beginning(), ftlink::make_frame(FrameKind::kBatch, {})}),
               Contains("batch has no place in a clone"));
    CHECK_THAT(error_of({beginning(), frame_of(Stands{})}), Contains("only a Secondary says"));
    CHECK_THAT(error_of({beginning(), frame_of(Failed{"no"})}), Contains("only a Secondary says"));
    CHECK_THAT(error_of({beginning(), frame_of(Protected{})}),
               Contains("protected before its clone stands"));
    CHECK_THAT(error_of({beginning(), ftlink::make_frame(FrameKind::kCloneControl, {})}),
               Contains("a clone's message"));
}

TEST_CASE("Pages that are not what their header says end a clone, and count for nothing") {
    auto cut = pages_from(0);
    cut.payload.pop_back();
    CHECK_THAT(error_of({beginning(), cut}), Contains("not as long as they say"));
    auto beyond = pages_from(machine::kChunkPages);
    beyond.payload[16 + 2] = std::byte{1};  // Page 16 of a chunk of which the guest has 16.
    CHECK_THAT(error_of({beginning(), beyond}), Contains("memory that the guest does not have"));
    auto fewer = pages_from(machine::kChunkPages);
    fewer.payload[16 + 1] = std::byte{0x7f};  // 15 of the 16 that were packed.
    CHECK_THAT(error_of({beginning(), fewer}), Contains("does not unpack to what it says"));
    auto nonsense = pages_from(0);
    nonsense.payload[machine::ChunkHeader::kBytes] ^= std::byte{1};
    CloneTarget target = target_of(kPages * kPageBytes);
    REQUIRE(give(target, beginning()));
    CHECK_THAT(ftlink::testing::error_of(give(target, nonsense)), Contains("does not unpack"));
    CHECK(target.pages() == 0);
}

TEST_CASE("An end that does not fit what came is none") {
    const auto error = [](const Ends& ends) {
        return error_of({beginning(), pages_from(machine::kChunkPages), state_of("message"),
                         state_of("bulk"), frame_of(ends)});
    };
    const auto why = Contains("not whole at its end");
    CHECK_THAT(error({7, 4, 15, Seq(1)}), why);
    CHECK_THAT(error({7, 4, 17, Seq(1)}), why);
    // More state came than is announced, and less.
    CHECK_THAT(error({7, 3, 16, Seq(1)}), why);
    CHECK_THAT(error({8, 4, 16, Seq(1)}), why);
    // Numbers that are right in sum alone.
    constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max();
    CHECK_THAT(error({kLargest, 12, 16, Seq(1)}), why);
    CHECK_THAT(error({12, kLargest, 16, Seq(1)}), why);
}

TEST_CASE("Memory is taken as bytes come, not as they are announced") {
    constexpr std::uint64_t kGuest = std::uint64_t{4} << 30U;
    constexpr std::uint64_t kLittle = std::uint64_t{64} << 20U;
    const Memory before = memory_now();
    CloneTarget target = target_of(kGuest);
    const Memory created = memory_now();
    REQUIRE(give(target, frame_of(Begins{kGuest / kPageBytes})));
    REQUIRE(give(target, frame_of(Round{1, kGuest / kPageBytes})));
    REQUIRE(give(target, frame_of(Round{2, std::numeric_limits<std::uint64_t>::max()})));
    REQUIRE(give(target, state_of("state")));
    REQUIRE_FALSE(
        give(target, frame_of(Ends{std::uint64_t{16} << 20U, std::uint64_t{1} << 30U, 0, Seq(1)})));
    const Memory now = memory_now();
    CHECK(now.mapped < created.mapped + kLittle);
    CHECK(now.resident < before.resident + kLittle);
}

}  // namespace ftvmm::pair
