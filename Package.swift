// swift-tools-version: 6.2
import PackageDescription

let cSettings: [CSetting] = [
    .define("_GNU_SOURCE"),
    .treatAllWarnings(as: .error), .enableWarning("conversion"), .enableWarning("shadow"),
]
let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6), .strictMemorySafety(), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "SharedState",
    products: [
        .library(name: "SharedState", targets: ["SharedState"]),
        .library(name: "SharedStateActors", targets: ["SharedStateActors"]),
        .library(name: "CShm", targets: ["CShm"]),
        .executable(name: "quickstart", targets: ["quickstart"]),
    ],
    targets: [
        .target(name: "CShm", cSettings: cSettings),
        .target(name: "CWorkerEntry", cSettings: cSettings),
        .target(
            name: "SharedState", dependencies: ["CShm", "CWorkerEntry"],
            swiftSettings: swiftSettings),
        .target(
            name: "SharedStateActors", dependencies: ["SharedState"],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "quickstart", dependencies: ["SharedState"], swiftSettings: swiftSettings),
        .executableTarget(
            name: "CShmTests", dependencies: ["CShm"], path: "Tests/CShmTests",
            cSettings: cSettings + [.headerSearchPath("../../Sources/CShm")]),
        .executableTarget(
            name: "ProcessFixture",
            dependencies: ["SharedState", "SharedStateActors", "EarlyThread", "Ledger"],
            path: "Tests/ProcessFixture", swiftSettings: swiftSettings),
        .executableTarget(
            name: "ObjectsInC", dependencies: ["CShm"], path: "Tests/ObjectsInC",
            cSettings: cSettings),
        .target(
            name: "Ledger", dependencies: ["SharedStateActors"], path: "Tests/Ledger",
            swiftSettings: swiftSettings),
        .target(name: "EarlyThread", path: "Tests/EarlyThread", cSettings: cSettings),
        .executableTarget(
            name: "TopLevelTrap", dependencies: ["SharedState"], path: "Tests/TopLevelTrap",
            swiftSettings: swiftSettings),
        .testTarget(
            name: "SharedStateTests",
            dependencies: [
                "SharedState", "SharedStateActors", "CShm", "CShmTests", "EarlyThread",
                "Ledger", "ObjectsInC", "ProcessFixture", "TopLevelTrap", "quickstart",
            ],
            swiftSettings: swiftSettings),
    ],
    cLanguageStandard: .c17
)
