// SPDX-License-Identifier: Apache-2.0

/// How the page looks.
internal enum PageStyle {
    static let sheet = """
        :root { color-scheme: light dark;
          --paper: #ffffff; --ink: #1c1e21; --soft: #5b616a; --line: #d9dce1; --card: #f6f7f9;
          --own: #0a66c2; --peer: #8a94a3; --floor: #c98a1b; --warn: #a43f00;
          --s0: #0a66c2; --s1: #c2410c; --s2: #15803d; --s3: #7e22ce; --s4: #b45309; }
        @media (prefers-color-scheme: dark) { :root {
          --paper: #14161a; --ink: #e8eaed; --soft: #a2a9b4; --line: #343a43; --card: #1d2026;
          --own: #5aa9ff; --peer: #7d8796; --floor: #d9a441; --warn: #ffb27a;
          --s0: #5aa9ff; --s1: #ff9a62; --s2: #5fd38d; --s3: #c79bff; --s4: #e5b567; } }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--paper); color: var(--ink);
          font: 16px/1.5 system-ui, sans-serif; }
        main { max-width: 72rem; margin: 0 auto; padding: 1rem; }
        h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
        h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; text-transform: capitalize; }
        p { margin: .5rem 0; }
        .warning { color: var(--warn); }
        .legend { color: var(--soft); }
        .key { display: inline-block; width: .8em; height: .8em; border-radius: .2em;
          margin: 0 .1em 0 .5em; }
        .key.own { background: var(--own); } .key.peer { background: var(--peer); }
        .key.floor { background: var(--floor); }
        .plots { display: grid; gap: 1rem;
          grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); }
        figure { margin: 0; padding: .75rem; background: var(--card); border-radius: .5rem; }
        figcaption { font-size: .9rem; margin-bottom: .25rem; }
        figcaption small { color: var(--soft); }
        svg { display: block; width: 100%; height: auto; }
        svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
        svg text.soft, svg tspan.soft { fill: var(--soft); }
        svg .own { fill: var(--own); } svg .peer { fill: var(--peer); }
        svg .floor { fill: var(--floor); }
        svg .grid { stroke: var(--line); } svg .whisker { stroke: var(--ink); opacity: .6; }
        svg .interval { fill: var(--ink); opacity: .6; }
        svg .curve { fill: none; stroke-width: 2; }
        .c0 { stroke: var(--s0); } .c1 { stroke: var(--s1); } .c2 { stroke: var(--s2); }
        .c3 { stroke: var(--s3); } .c4 { stroke: var(--s4); }
        svg text.t0 { fill: var(--s0); } svg text.t1 { fill: var(--s1); }
        svg text.t2 { fill: var(--s2); } svg text.t3 { fill: var(--s3); }
        svg text.t4 { fill: var(--s4); }
        .scroll { overflow-x: auto; margin-top: 1rem; }
        table { border-collapse: collapse; font-size: .9rem; width: 100%; }
        th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
          vertical-align: top; white-space: nowrap; }
        td.text { white-space: normal; }
        td.number { text-align: right; font-variant-numeric: tabular-nums; }
        pre { overflow-x: auto; background: var(--card); padding: .75rem; border-radius: .5rem; }
        """
}
