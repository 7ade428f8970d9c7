// What two hosts must agree on.
#include "ftlink/handshake.h"

#include <functional>

#include <catch2/catch.hpp>

#include "hellos.h"

using namespace ftvmm;
using namespace ftvmm::ftlink;
using namespace ftvmm::ftlink::testing;

TEST_CASE("A Primary and a Secondary that agree in all that must be equal make a pair") {
    CHECK_FALSE(compare(primary(), secondary(), "b"));
    CHECK_FALSE(compare(secondary(), primary(), "a"));
}

TEST_CASE("Each thing that must be equal is refused by its name, with both values") {
    struct Case {
        std::function<void(Hello&)> change;
        const char* field;
        const char* mine;
        const char* yours;
    };
    const auto test = GENERATE(values<Case>({
        {[](Hello& h) { h.protocol_version = 2; }, "the protocol version", "1", "2"},
        {[](Hello& h) { h.build = "0.2.0"; }, "the build of ftvmm", "0.1.0", "0.2.0"},
        {[](Hello& h) { h.vm_uuid = "0b0d"; }, "the VM's uuid", "0b0c", "0b0d"},
        {[](Hello& h) { h.generation = Generation(6); }, "the generation", "7", "6"},
        {[](Hello& h) { h.dead_after_ms = 500; }, "the time after which a silent host is dead",
         "400 ms", "500 ms"},
        {[](Hello& h) { h.cpu_identity = "x"; }, "the CPU identity", "AuthenticAMD 25/1/1", "x"},
        {[](Hello& h) { h.memory_bytes = 5; }, "the memory", "1073741824 bytes", "5 bytes"},
        {[](Hello& h) { h.first_seq = replay::Seq(0); }, "the first record", "812", "0"},
        {[](Hello& h) { h.role = LinkRole::kPrimary; }, "the role", "Primary", "Primary"},
        {[](Hello& h) { h.host = "c"; }, "the name in your certificate", "b", "c"},
        {[](Hello& h) { h.machine_id = "aaaa"; }, "the machine id, which must not be the same,",
         "aaaa", "aaaa"},
    }));
    Hello theirs = secondary();
    test.change(theirs);
    const auto refusal = compare(primary(), theirs, "b");
    REQUIRE(refusal);
    CHECK(refusal->field == test.field);
    CHECK(refusal->mine == test.mine);
    CHECK(refusal->yours == test.yours);
    CHECK_FALSE(refusal->advice.empty());
    // The other host is told the same from its side.
    const auto told = decode_refusal(encode_refusal(*refusal));
    REQUIRE(told);
    CHECK(*told == *refusal);
    CHECK(error_of_own(*refusal).line().find(std::string(test.mine) + " here") !=
          std::string::npos);
    CHECK(error_of_other(*told).line().find(std::string(test.yours) + " here") !=
          std::string::npos);
}

TEST_CASE("Hosts that see different generations are told to look at the folder they should share") {
    Hello theirs = secondary();
    theirs.generation = Generation(6);
    const auto refusal = compare(primary(), theirs, "b");
    REQUIRE(refusal);
    CHECK(refusal->advice.find("both must see the same shared folder") != std::string::npos);
    CHECK(refusal->advice.size() <= kMaxHandshakeText);
}

TEST_CASE("A hello comes as it was sent, and with the largest values too") {
    Hello hello = secondary();
    CHECK(decode_hello(encode_hello(hello).value()).value() == hello);
    hello.paths = {{"10.77.1.0/24", "10.77.1.12"}, {"fd77::/64", "fd77::12"}};
    CHECK(decode_hello(encode_hello(hello).value()).value() == hello);
    hello.build = std::string(kMaxHandshakeText, 'x');
    hello.generation = Generation(UINT64_MAX);
    hello.dead_after_ms = UINT32_MAX;
    hello.first_seq = replay::Seq(UINT64_MAX);
    hello.memory_bytes = UINT64_MAX;
    CHECK(decode_hello(encode_hello(hello).value()).value() == hello);
    hello.machine_id = std::string(kMaxHandshakeText + 1, 'x');
    CHECK_FALSE(encode_hello(hello));
    hello = secondary();
    hello.paths.resize(kMaxHelloPaths);
    CHECK(encode_hello(hello));
    hello.paths.resize(kMaxHelloPaths + 1);
    CHECK_FALSE(encode_hello(hello));
    hello.paths = {{"10.77.1.0/24", "10.77\n"}};
    CHECK_FALSE(encode_hello(hello));
}

TEST_CASE("Hosts that are reached on different networks make a pair all the same") {
    Hello theirs = secondary();
    theirs.paths = {{"10.77.1.0/24", "10.77.1.12"}};
    CHECK_FALSE(compare(primary(), theirs, "b"));
}

TEST_CASE("A hello of another version is told apart, whatever else it holds") {
    // Field 1 is 9, field 2 a text that is none, field 7 a role that there is not.
    const std::string bytes = "\x08\x09\x12\x01\x01\x38\x63";
    const auto hello = decode_hello(std::as_bytes(std::span(bytes)));
    REQUIRE(hello);
    CHECK(hello->protocol_version == 9);
    CHECK(compare(primary(), *hello, "b")->field == "the protocol version");
}

TEST_CASE("A hello whose texts could not be printed, or that is too long, is refused") {
    Hello hello = secondary();
    hello.build = "0.1\n[ok] all is well";
    CHECK_FALSE(encode_hello(hello));
    const auto refused = [](std::string bytes) {
        const auto hello_read = decode_hello(std::as_bytes(std::span(bytes)));
        return hello_read ? std::string() : hello_read.error().line();
    };
    using namespace std::string_literals;
    CHECK(refused("\x08\x01\x12\x03"s + "a\nb").find("printable") != std::string::npos);
    CHECK(refused("\x08\x01\x38\x63"s).find("role 99") != std::string::npos);
    // Field 12, seven of them; one, whose network is none that can be printed.
    std::string paths;
    for (int i = 0; i < 7; ++i)
        paths += "\x62\x03\x12\x01" + "a"s;
    CHECK(refused("\x08\x01\x38\x01"s + paths).find("7 paths") != std::string::npos);
    CHECK(refused("\x08\x01\x38\x01\x62\x03\x0a\x01\x07"s).find("printable") != std::string::npos);
    CHECK(refused("\x08\x01"s).find("role 0") != std::string::npos);
    CHECK(refused(std::string(5000, 'x')).find("5000 bytes") != std::string::npos);
    CHECK(refused("\xff\xff").find("none that ftvmm sends") != std::string::npos);
}

TEST_CASE("A refusal's texts are cut and cleaned, so that it always goes out") {
    const Refusal refusal{"f", std::string(10'000, 'm'), "a\x1b[31mred", ""};
    const auto told = decode_refusal(encode_refusal(refusal));
    REQUIRE(told);
    CHECK(told->mine.size() == kMaxHandshakeText);
    CHECK(told->yours == "a?[31mred");
}
