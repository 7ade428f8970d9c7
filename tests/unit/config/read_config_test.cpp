#include "config/read_config.h"

#include <fmt/format.h>

#include <algorithm>

#include <catch2/catch.hpp>

namespace ftvmm::config {
namespace {

constexpr auto kHead = R"(name = "web1"
uuid = "0b9ad6a5-9b5c-4d8c-8d3a-5f1b64a54a67"
memory = "2 GiB"
kernel = "vmlinuz"
)";

// The problems of `text`, one line each.
std::string problems_of(const std::string& text) {
    const auto config = parse_config(text, "vm.toml");
    if (config) return "";
    std::string lines;
    for (const Problem& problem : config.error())
        lines += problem.text() + "\n";
    return lines;
}

// The problems of a good head, four lines, with `tail` behind it.
std::string problems_behind_head(const std::string& tail) {
    return problems_of(kHead + tail);
}

// The problems of a good file but for `key`, which has `value`.
std::string problems_with(const std::string& key, const std::string& value) {
    std::string text = kHead;
    const auto at = text.find(key + " = ");
    REQUIRE(at != std::string::npos);
    text.replace(at, text.find('\n', at) - at, fmt::format("{} = {}", key, value));
    return problems_of(text);
}

TEST_CASE("A file with everything in it becomes a VmConfig") {
    const auto config = parse_config(std::string(kHead) + R"(
initrd = "../boot/initrd.img"
cmdline = "root=/dev/vda1 ro"
cpu.model = "v3"
[[disk]]
path = "root.img"
serial = "root"
[[disk]]
path = "/dev/vg/data"
read_only = true
[[nic]]
mac = "52:54:00:12:34:56"
bridge = "br0"
[[nic]]
mac = "52:54:00:12:34:57"
tap = "tap7"
[console]
kind = "virtio"
log = "console.log"
[ft]
shared = "/srv/vms/../ftvmm/web1"
dead_after_ms = 60000
paths = ["192.0.2.0/24", "2001:db8::/64"]
lease_s = 5
)",
                                     "/vms/web1/vm.toml");
    REQUIRE(config);
    CHECK(config->name == "web1");
    CHECK(config->uuid.text() == "0b9ad6a5-9b5c-4d8c-8d3a-5f1b64a54a67");
    CHECK(config->memory_bytes == std::uint64_t{2} << 30);
    CHECK(config->cpu_model == CpuModel::kV3);
    CHECK(config->kernel == "/vms/web1/vmlinuz");
    CHECK(config->initrd == "/vms/boot/initrd.img");
    CHECK(config->cmdline == "root=/dev/vda1 ro");
    CHECK(config->disks == std::vector{DiskConfig{"/vms/web1/root.img", false, "root"},
                                       DiskConfig{"/dev/vg/data", true, ""}});
    CHECK(config->nics ==
          std::vector{NicConfig{*MacAddress::parse("52:54:00:12:34:56"), BridgeName{"br0"}},
                      NicConfig{*MacAddress::parse("52:54:00:12:34:57"), TapName{"tap7"}}});
    CHECK(config->console == ConsoleConfig{ConsoleKind::kVirtio, "/vms/web1/console.log"});
    CHECK(config->ft == FtConfig{.shared = "/srv/ftvmm/web1",
                                 .dead_after = std::chrono::minutes(1),
                                 .lease = std::chrono::seconds(5),
                                 .paths = {*IpNetwork::parse("192.0.2.0/24"),
                                           *IpNetwork::parse("2001:db8::/64")}});
}

TEST_CASE("What is left out has its default") {
    const auto config = parse_config(kHead, "vm.toml");
    REQUIRE(config);
    CHECK(config->cpu_model == CpuModel::kV2);
    CHECK(config->kernel == "vmlinuz");
    CHECK_FALSE(config->initrd);
    CHECK(config->cmdline.empty());
    CHECK(config->disks.empty());
    CHECK(config->nics.empty());
    CHECK(config->console == ConsoleConfig{});
    CHECK_FALSE(config->ft);
    const auto shared = parse_config(std::string(kHead) + "[ft]\nshared = \"/s\"\n", "vm.toml");
    REQUIRE(shared);
    CHECK(shared->ft->dead_after == std::chrono::milliseconds(400));
    CHECK(shared->ft->lease == std::chrono::seconds(30));
    CHECK(shared->ft->paths.empty());
}

TEST_CASE("Memory is a number of MiB or a text with a unit") {
    CHECK(problems_with("memory", "64").empty());
    CHECK(problems_with("memory", "65536").empty());
    CHECK(problems_with("memory", "\"65540 KiB\"").empty());
    for (const char* value : {"63", "65537", "0", "-5", "9223372036854775807", "\"65 GiB\""}) {
        CHECK(problems_with("memory", value) ==
              "vm.toml:3:10: memory is out of range; give the VM 64 MiB to 64 GiB\n");
    }
    for (const char* value : {"\"2 GB\"", "\"2\"", "\"\"", "2.5", "true", "[2]"}) {
        CHECK_THAT(problems_with("memory", value),
                   Catch::StartsWith("vm.toml:3:10: memory is not a size; write it as \"2 GiB\""));
    }
    CHECK_THAT(problems_with("memory", "\"65537 KiB\""),
               Catch::Contains("not a whole number of pages"));
}

TEST_CASE("All problems of a file are told at once, in its order, each with its place") {
    CHECK(problems_of(R"(name = "Web 1"
memory = "a lot"
kernel = 5
[[disk]]
path = ""
read_only = "yes"
[[nic]]
mac = "52:54"
tap = "a/b"
colour = "red"
)") == R"(vm.toml:1:1: the file has no uuid; add a line such as uuid = "..." with what uuidgen prints
vm.toml:1:8: "Web 1" is no name for a VM; use 1 to 63 of the characters a-z, 0-9 and -
vm.toml:2:10: memory is not a size; write it as "2 GiB", as "512 MiB", or as a whole number of MiB
vm.toml:3:10: kernel is an integer, where a string is needed
vm.toml:5:8: path is empty; give it a value or leave the line out
vm.toml:6:13: read_only is a string, where true or false is needed
vm.toml:8:7: "52:54" is not a MAC address; write it as "52:54:00:12:34:56"
vm.toml:9:7: "a/b" is no name of an interface; use up to 15 characters without blanks, '/', ':' and '%'
vm.toml:10:1: [[nic]] has no key "colour"; the keys here are mac, bridge, tap
)");
}

TEST_CASE("An empty file lacks every key that has no default") {
    const std::string problems = problems_of("");
    for (const char* key : {"no name", "no uuid", "no memory", "no kernel"})
        CHECK_THAT(problems, Catch::Contains(key));
}

TEST_CASE("A misspelt key is refused with the one that was meant") {
    CHECK(problems_behind_head("initd = \"x\"\n") ==
          "vm.toml:5:1: the file has no key \"initd\"; did you mean initrd?\n");
    CHECK_THAT(problems_behind_head("[cpu]\nmodle = \"v2\"\n"),
               Catch::StartsWith("vm.toml:6:1: [cpu] has no key \"modle\"; did you mean model?"));
    CHECK_THAT(problems_behind_head("[[disk]]\npath = \"a\"\nreadonly = true\n"),
               Catch::Contains("did you mean read_only?"));
    CHECK_THAT(problems_behind_head("[consol]\nkind = \"serial\"\n"),
               Catch::Contains("did you mean console?"));
    CHECK_THAT(problems_behind_head("processors = 4\n"),
               Catch::Contains("the keys here are name, uuid"));
    CHECK_THAT(problems_behind_head(std::string(100000, 'a') + " = 4\n"),
               Catch::Contains("the keys here are name, uuid"));
}

TEST_CASE("Each problem is told in one line, whatever the file holds") {
    const std::string of_key = problems_behind_head("\"a\\n\\u001b[31mb\" = 1\n");
    CHECK_THAT(of_key, Catch::StartsWith("vm.toml:5:1: ") && Catch::Contains("a  [31mb"));
    CHECK(std::ranges::count(of_key, '\n') == 1);
    CHECK(std::ranges::count(problems_behind_head("kenrel \xa7= {}\n"), '\n') == 1);
}

TEST_CASE("A syntax error is told with its place") {
    CHECK_THAT(problems_behind_head("cmdline = \"open\n"), Catch::StartsWith("vm.toml:5:"));
    CHECK_THAT(problems_behind_head("[[disk]\n"), Catch::StartsWith("vm.toml:5:"));
    CHECK_THAT(problems_behind_head("= 3\n"), Catch::StartsWith("vm.toml:5:"));
    CHECK_THAT(problems_behind_head("name = \"again\"\n"), Catch::StartsWith("vm.toml:5:"));
    CHECK_THAT(problems_of(std::string("\xff\xfe\x00\x01", 4)), Catch::StartsWith("vm.toml:1:"));
    CHECK_FALSE(problems_of(std::string(1000, '[')).empty());
    // Letters that toml++ 3.3 has no case for: asan's build ended here.
    CHECK_THAT(problems_of("\u0397 = 1\n"), Catch::StartsWith("vm.toml:1:"));
    CHECK(problems_behind_head("cmdline = \"\"\"\\\n\u00a7\"\"\"\n").empty());
}

TEST_CASE("A table where an array of tables is needed, and the other way round, is told") {
    CHECK(problems_behind_head("[disk]\npath = \"a\"\n") ==
          "vm.toml:5:1: disk is a table, where one table [[disk]] for each is needed\n");
    CHECK_THAT(problems_behind_head("nic = [1]\n"),
               Catch::Contains("nic is an integer, where a table [[nic]] is needed"));
    CHECK_THAT(problems_behind_head("[[cpu]]\nmodel = \"v2\"\n"),
               Catch::Contains("cpu is an array, where a table [cpu] is needed"));
    CHECK_THAT(problems_behind_head("console = 1979-05-27\n"),
               Catch::Contains("console is a date or time"));
}

TEST_CASE("A name is one label of a host name") {
    for (const char* name : {"\"a\"", "\"web-1\"", "\"007\""})
        CHECK(problems_with("name", name).empty());
    CHECK(problems_with("name", '"' + std::string(63, 'a') + '"').empty());
    CHECK_FALSE(problems_with("name", '"' + std::string(64, 'a') + '"').empty());
    for (const char* name : {"\"Web\"", "\"a.b\"", "\"a/b\"", "\"../a\"", "\"a b\"", "\"\u00e4\""})
        CHECK_THAT(problems_with("name", name), Catch::Contains("is no name for a VM"));
}

TEST_CASE("A UUID that is none, or nil, is refused") {
    for (const char* uuid : {"\"x\"", "\"00000000-0000-0000-0000-000000000000\""})
        CHECK_THAT(problems_with("uuid", uuid), Catch::Contains("uuidgen prints one"));
}

TEST_CASE("An unknown CPU model or console is refused with those that exist") {
    CHECK_THAT(problems_behind_head("cpu.model = \"host\"\n"),
               Catch::StartsWith("vm.toml:5:13: there is no CPU model \"host\"; use \"v2\""));
    CHECK_THAT(problems_behind_head("console.kind = \"vga\"\n"),
               Catch::Contains("use \"serial\" or \"virtio\""));
}

TEST_CASE("A command line fits into one line and into what the guest reads") {
    const std::string longest(kMaxCmdlineLength, 'a');
    CHECK(problems_behind_head("cmdline = \"" + longest + "\"\n").empty());
    CHECK_THAT(problems_behind_head("cmdline = \"" + longest + "a\"\n"),
               Catch::Contains("cmdline is 1793 bytes long; shorten it to 1792"));
    CHECK_THAT(problems_behind_head("cmdline = \"a\\nb\"\n"),
               Catch::Contains("cmdline holds a control character"));
    CHECK_THAT(problems_behind_head("cmdline = \"a\\u0000b\"\n"),
               Catch::Contains("cmdline holds a control character"));
}

TEST_CASE("Two disks are not one file, however its path is written") {
    CHECK(problems_behind_head("[[disk]]\npath = \"a.img\"\n[[disk]]\npath = \"./x/../a.img\"\n") ==
          "vm.toml:8:8: disk path a.img is already used in line 6; give each its own\n");
}

TEST_CASE("Two disks do not share a serial") {
    CHECK_THAT(problems_behind_head("[[disk]]\npath = \"a\"\nserial = \"s\"\n"
                                    "[[disk]]\npath = \"b\"\nserial = \"s\"\n"),
               Catch::StartsWith("vm.toml:10:10: disk serial s is already used in line 7"));
}

TEST_CASE("A serial is short and plain") {
    for (const char* serial : {"a b", "123456789012345678901", "a/b"}) {
        CHECK_THAT(
            problems_behind_head(fmt::format("[[disk]]\npath = \"a\"\nserial = \"{}\"\n", serial)),
            Catch::Contains("is no serial"));
    }
}

TEST_CASE("A disk has a path") {
    CHECK(problems_behind_head("[[disk]]\nread_only = true\n") ==
          "vm.toml:5:1: [[disk]] has no path; add a line such as path = \"web1.img\"\n");
}

TEST_CASE("Two cards do not share a mac or a tap") {
    CHECK_THAT(problems_behind_head("[[nic]]\nmac = \"52:54:00:00:00:0A\"\nbridge = \"br0\"\n"
                                    "[[nic]]\nmac = \"52:54:00:00:00:0a\"\nbridge = \"br0\"\n"),
               Catch::StartsWith("vm.toml:9:7: mac 52:54:00:00:00:0a is already used in line 6"));
    CHECK_THAT(problems_behind_head("[[nic]]\nmac = \"52:54:00:00:00:0a\"\ntap = \"t\"\n"
                                    "[[nic]]\nmac = \"52:54:00:00:00:0b\"\ntap = \"t\"\n"),
               Catch::StartsWith("vm.toml:10:7: tap t is already used in line 7"));
}

TEST_CASE("A multicast, broadcast or empty mac is refused") {
    for (const char* mac : {"01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff"}) {
        CHECK_THAT(
            problems_behind_head(fmt::format("[[nic]]\nmac = \"{}\"\nbridge = \"br0\"\n", mac)),
            Catch::Contains("is a multicast address; a card's own address has an even first byte"));
    }
    CHECK_THAT(problems_behind_head("[[nic]]\nmac = \"00:00:00:00:00:00\"\nbridge = \"br0\"\n"),
               Catch::Contains("is not a MAC address"));
}

TEST_CASE("A card has a bridge or a tap, not both and not neither") {
    const std::string nic = "[[nic]]\nmac = \"52:54:00:00:00:0a\"\n";
    CHECK_THAT(problems_behind_head(nic),
               Catch::StartsWith("vm.toml:5:1: [[nic]] has neither a bridge nor a tap; name one"));
    CHECK_THAT(problems_behind_head(nic + "bridge = \"br0\"\ntap = \"t\"\n"),
               Catch::StartsWith("vm.toml:5:1: [[nic]] has both a bridge and a tap"));
    CHECK_THAT(problems_behind_head(nic + "bridge = \"0123456789abcdef\"\n"),
               Catch::Contains("is no name of an interface"));
}

TEST_CASE("There are at most 16 disks and 8 cards") {
    std::string disks;
    std::string nics;
    for (int i = 0; i < 17; ++i)
        disks += fmt::format("[[disk]]\npath = \"{}\"\n", i);
    for (int i = 0; i < 9; ++i)
        nics += fmt::format("[[nic]]\nmac = \"52:54:00:00:00:{:02x}\"\nbridge = \"br0\"\n", i);
    CHECK(problems_behind_head(disks) == "vm.toml:37:1: more than 16 disks\n");
    CHECK(problems_behind_head(nics) == "vm.toml:29:1: more than 8 network cards\n");
}

TEST_CASE("A VM of two hosts names a folder that is the same on both") {
    CHECK(problems_behind_head("[ft]\n") ==
          "vm.toml:5:1: [ft] has no shared; add a line such as shared = \"/srv/ftvmm/web1\"\n");
    CHECK_THAT(problems_behind_head("[ft]\nshared = \"srv/web1\"\n"),
               Catch::StartsWith("vm.toml:6:10: \"srv/web1\" is not an absolute path; "));
    CHECK_THAT(problems_behind_head("ft = true\n"),
               Catch::Contains("where a table [ft] is needed"));
    CHECK_THAT(problems_behind_head("[ft]\nshared = \"/s\"\nlease_ms = 5\n"),
               Catch::StartsWith("vm.toml:7:1: [ft] has no key \"lease_ms\"; "));
}

TEST_CASE("The times of a VM of two hosts are whole numbers within bounds") {
    const auto problems = [](const char* line) {
        return problems_behind_head(fmt::format("[ft]\nshared = \"/s\"\n{}\n", line));
    };
    for (const char* fine : {"dead_after_ms = 200", "dead_after_ms = 60000", "lease_s = 600"})
        CHECK(problems(fine).empty());
    CHECK(problems("dead_after_ms = 199") ==
          "vm.toml:7:17: dead_after_ms is out of range; use 200 to 60000\n");
    for (const char* bad : {"dead_after_ms = 60001", "dead_after_ms = -400", "lease_s = 4",
                            "lease_s = 601", "lease_s = 9223372036854775807"})
        CHECK_THAT(problems(bad), Catch::Contains("is out of range"));
    CHECK_THAT(problems("lease_s = 30.5"), Catch::Contains("where a whole number is needed"));
    CHECK_THAT(problems("lease_s = \"30\""), Catch::Contains("where a whole number is needed"));
}

TEST_CASE("The command that ends a lost host is a program's absolute path") {
    const auto problems = [](const std::string& line) {
        return problems_behind_head(fmt::format("[ft]\nshared = \"/s\"\n{}\n", line));
    };
    CHECK(problems("fence = \"/usr/local/sbin/fence\"").empty());
    CHECK_THAT(problems("fence = \"fence\""), Catch::Contains("is not an absolute path"));
    CHECK_THAT(problems("fence = [\"/sbin/fence\"]"), Catch::Contains("a string is needed"));
}

TEST_CASE("The paths of a VM of two hosts are networks, each once, and no more than there may be") {
    const auto problems = [](const std::string& line) {
        return problems_behind_head(fmt::format("[ft]\nshared = \"/s\"\n{}\n", line));
    };
    CHECK(problems("paths = []").empty());
    CHECK_THAT(problems("paths = [\"192.0.2.11/24\"]"),
               Catch::StartsWith("vm.toml:7:10: \"192.0.2.11/24\" is no network; "));
    CHECK_THAT(problems("paths = [\"2001:db8::/64\", \"2001:DB8::/64\"]"),
               Catch::StartsWith("vm.toml:7:27: the network 2001:db8::/64 is already used"));
    CHECK_THAT(problems("paths = \"192.0.2.0/24\""),
               Catch::Contains("where an array of strings is needed"));
    CHECK_THAT(problems("paths = [7]"), Catch::Contains("where a string is needed"));
    std::string many;
    for (int i = 0; i < 7; ++i)
        many += fmt::format("\"10.77.{}.0/24\", ", i);
    CHECK_THAT(problems("paths = [" + many + "]"), Catch::Contains("more than 6 paths"));
}

TEST_CASE("A file that cannot be read is the only problem") {
    const auto config = load_config("/no/such/vm.toml");
    REQUIRE_FALSE(config);
    REQUIRE(config.error().size() == 1);
    CHECK(config.error()[0].text() == "/no/such/vm.toml: No such file or directory");
    const auto folder = load_config("/");
    REQUIRE_FALSE(folder);
    CHECK(folder.error()[0].text() == "/: Is a directory");
}

TEST_CASE("A file without an end is refused, not read") {
    const auto config = load_config("/dev/zero");
    REQUIRE_FALSE(config);
    CHECK_THAT(config.error()[0].text(), Catch::Contains("larger than 256 KiB; check the path"));
}

}  // namespace
}  // namespace ftvmm::config
