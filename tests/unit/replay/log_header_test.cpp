#include "replay/log_header.h"

#include <functional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "sample_log.h"

namespace ftvmm::replay {
namespace {

using testing::sample_header;

std::string mismatch_with(const std::function<void(LogHeader&)>& change) {
    auto here = sample_header();
    change(here);
    const auto error = mismatch(sample_header(), here);
    if (!error) return "";
    CHECK(!error->advice().empty());
    return error->what();
}

bool has(const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("A log's header comes out as it went in") {
    const auto bytes = encode_log_header(sample_header());
    REQUIRE(bytes);
    const auto header = decode_log_header(*bytes);
    REQUIRE(header);
    CHECK(*header == sample_header());
    const auto size = log_header_bytes(std::span(*bytes).first<kLogHeaderPrefixBytes>());
    REQUIRE(size);
    CHECK(*size == bytes->size());
}

TEST_CASE("Every bit of a log's header is under a checksum, and none of it may be missing") {
    const auto bytes = encode_log_header(sample_header());
    REQUIRE(bytes);
    for (std::size_t bit = 0; bit < bytes->size() * 8; ++bit) {
        auto flipped = *bytes;
        flipped[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        CAPTURE(bit);
        REQUIRE(!decode_log_header(flipped));
    }
    for (std::size_t size = 0; size < bytes->size(); ++size)
        REQUIRE(!decode_log_header(std::span(*bytes).first(size)));
}

TEST_CASE("What is no log, and a log of another version, are told apart") {
    auto bytes = *encode_log_header(sample_header());
    auto other = bytes;
    other[8] = std::byte{2};
    CHECK(decode_log_header(other).error().what() ==
          "its format is version 2, and this ftvmm reads version 1");
    bytes[0] = std::byte{0};
    CHECK(decode_log_header(bytes).error().what() == "it is no log of a VM");
}

TEST_CASE("A header that announces more than any has is refused before it is read") {
    auto bytes = *encode_log_header(sample_header());
    bytes[14] = std::byte{0x10};  // 1 MiB more.
    CHECK(!log_header_bytes(std::span(bytes).first<kLogHeaderPrefixBytes>()));
    auto header = sample_header();
    header.command_line.assign(kMaxLogHeaderBytes, 'x');
    CHECK(!encode_log_header(header));
}

TEST_CASE("A log is replayed where everything is as it was, whatever the VM is called and when") {
    CHECK(mismatch_with([](LogHeader& h) {
              h.vm_name = "post";
              h.created_at += std::chrono::hours(1);
          }).empty());
}

TEST_CASE("What differs from the recording is named with both values") {
    CHECK(
        mismatch_with([](LogHeader& h) { h.memory_bytes = 4096; }) ==
        "the memory differs from when the log was recorded: 536870912 bytes then, 4096 bytes now");
    CHECK(has(mismatch_with([](LogHeader& h) { h.build = "0.2"; }), "the build of ftvmm"));
    CHECK(has(mismatch_with([](LogHeader& h) { h.vm_uuid = "x"; }), "the VM's uuid"));
    CHECK(has(mismatch_with([](LogHeader& h) { h.cpu_model = "v3"; }), "v2 then, v3 now"));
    CHECK(has(mismatch_with([](LogHeader& h) { h.cpuid_hash = "x"; }), "CPUID"));
    CHECK(has(mismatch_with([](LogHeader& h) { h.host_cpu = "x"; }), "the host's processor"));
    CHECK(has(mismatch_with([](LogHeader& h) { h.kernel_hash = "x"; }), "the kernel differs"));
    CHECK(has(mismatch_with([](LogHeader& h) { h.initrd_hash = ""; }), "ccdd then, none now"));
    CHECK(has(mismatch_with([](LogHeader& h) { h.command_line = "x"; }), "command line"));
    CHECK(has(mismatch_with([](LogHeader& h) { h.disks.pop_back(); }), "the list of disks"));
    CHECK(has(mismatch_with([](LogHeader& h) { h.disks[0].bytes = 1; }), "the list of disks"));
    CHECK(has(mismatch_with([](LogHeader& h) { h.disks[1].read_only = false; }),
              "4096 bytes read-only then"));
    CHECK(has(mismatch_with([](LogHeader& h) { h.macs = {}; }), "none now"));
    CHECK(has(mismatch_with([](LogHeader& h) { h.state_hash = "x"; }), "the state file"));
    CHECK(has(mismatch_with([](LogHeader& h) { h.disks[0].hash = "x"; }), "disk 0"));
}

TEST_CASE("A disk that was not hashed on one side is not compared") {
    CHECK(mismatch_with([](LogHeader& h) { h.disks[0].hash = ""; }).empty());
    CHECK(mismatch_with([](LogHeader& h) { h.disks[1].hash = "x"; }).empty());
}

}  // namespace ftvmm::replay
